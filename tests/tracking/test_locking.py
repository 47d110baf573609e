"""Runs that start together: one has the folder, and the others are told so."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from running import make_run, statuses

from tao_like.errors import SpecError
from tao_like.stages.lib.folders import BUNDLE_NAME, keep_earlier_training
from tao_like.tracking import folder_lock, locking
from tao_like.tracking.process import this_process

TRIES, PROCESSES, TIMEOUT = 20, 3, 60
LOCK_FILE = ".tao_like.lock"

# A fork of this process would keep whatever its other threads had locked at that moment.
context = multiprocessing.get_context("forkserver")


def no_directory_locks(patch: pytest.MonkeyPatch | None) -> None:
    """Has the lock be a file, as on NFS."""

    @contextmanager
    def refuse(*_: object) -> Any:
        raise OSError(errno.EBADF, "Bad file descriptor")
        yield

    if patch is None:
        locking._locked_directory = refuse
    else:
        patch.setattr(locking, "_locked_directory", refuse)


def race(results: Path, barrier: Any, outcomes: Any, by_file: bool) -> None:
    """What each of the processes does: it claims one folder after another, at the same moment as the rest."""
    if by_file:
        no_directory_locks(None)
    for number in range(TRIES):
        folder = results / str(number) / "train"
        barrier.wait(TIMEOUT)
        try:
            with folder_lock(folder):
                keep_earlier_training(folder, None)
                run = make_run(folder).__enter__()
        except SpecError as error:
            outcomes.put((number, str(error)))
            run = None
        else:
            (folder / BUNDLE_NAME).write_text(str(os.getpid()))
            outcomes.put((number, ""))
        barrier.wait(TIMEOUT)
        if run is not None:
            run.__exit__(None, None, None)


@pytest.mark.parametrize("by_file", [False, True], ids=["lock of the folder above", "lock file"])
def test_of_processes_that_start_together_one_has_the_folder(tmp_path: Path, by_file: bool) -> None:
    for number in range(TRIES):
        folder = tmp_path / str(number) / "train"
        folder.mkdir(parents=True)
        (folder / BUNDLE_NAME).write_text("an earlier training")
    barrier, outcomes = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=race, args=(tmp_path, barrier, outcomes, by_file)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    heard = [outcomes.get(timeout=TIMEOUT) for _ in range(TRIES * PROCESSES)]
    for process in processes:
        process.join(TIMEOUT)
        assert process.exitcode == 0
    for number in range(TRIES):
        told = sorted(text for tried, text in heard if tried == number)
        assert [bool(text) for text in told] == [False, True, True]
        assert all("in use by another run" in text for text in told[1:])
        assert statuses(tmp_path / str(number) / "train") == ["STARTED", "SUCCESS"]
        kept = sorted(path.name for path in (tmp_path / str(number)).iterdir())
        assert kept == ["train", "train-001"]
        assert (tmp_path / str(number) / "train-001" / BUNDLE_NAME).read_text() == "an earlier training"


def test_threads_that_start_together(tmp_path: Path) -> None:
    barrier, won, refused = threading.Barrier(4), [], []

    def start() -> None:
        barrier.wait()
        try:
            run = make_run(tmp_path / "train").__enter__()
        except SpecError as error:
            refused.append(error)
        else:
            won.append(run)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 3)
    won[0].__exit__(None, None, None)


def test_the_lock_may_be_nested_and_leaves_no_file(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "a"), folder_lock(tmp_path / "a"), folder_lock(tmp_path / "b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_held_too_long_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tao_like.tracking.locking.WAIT_SECONDS", 0.1)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with folder_lock(tmp_path / "train"):
            held.set()
            done.wait(TIMEOUT)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(TIMEOUT)
    try:
        with pytest.raises(SpecError, match="results_dir: another run has been starting"):
            make_run(tmp_path / "train").__enter__()
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("owner", ["dead", "nonsense", "of another machine, old"])
def test_the_lock_file_of_a_dead_owner_is_taken_over(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_directory_locks(monkeypatch)
    process = context.Process(target=time.sleep, args=(0,))
    process.start()
    here = this_process()
    fields = {"host": here.host, "namespace": here.namespace, "pid": process.pid, "start": 1}
    process.join(TIMEOUT)
    if owner == "of another machine, old":
        fields["host"] = "elsewhere"
    path = tmp_path / LOCK_FILE
    path.write_text("{" if owner == "nonsense" else json.dumps(fields))
    os.utime(path, (0, 0))
    with folder_lock(tmp_path / "train"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("owner", ["alive", "of another machine, new"])
def test_the_lock_file_of_a_living_owner_is_left_alone(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_directory_locks(monkeypatch)
    here = this_process()
    fields = {"host": here.host, "namespace": here.namespace, "pid": here.pid, "start": here.start}
    if owner != "alive":
        fields["host"] = "elsewhere"
    text = json.dumps(fields)
    (tmp_path / LOCK_FILE).write_text(text)
    monkeypatch.setattr("tao_like.tracking.locking.WAIT_SECONDS", 0.3)
    with pytest.raises(SpecError, match="another run has been starting"), folder_lock(tmp_path / "train"):
        pass
    assert (tmp_path / LOCK_FILE).read_text() == text
