from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from running import heartbeat_threads, lines, make_run, statuses

from tao_like.errors import SpecError, TaoLikeError
from tao_like.tracking import listeners
from tao_like.tracking.signals import Terminated


def test_a_run_that_ends_well(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "train"
    with make_run(folder) as run:
        run.status("epoch 1 of 2", kpi={"top1": 0.5}, epoch=1, max_epoch=2, eta=3725.4)
        assert (folder / ".heartbeat").exists()
        run.report({"top1": 0.75})
        with run.artefact("model.tltb") as path:
            path.write_bytes(b"weights")
    started, running, success = lines(folder)
    assert [started["status"], running["status"], success["status"]] == ["STARTED", "RUNNING", "SUCCESS"]
    assert running["message"] == "epoch 1 of 2"
    assert (running["epoch"], running["max_epoch"], running["eta"]) == (1, 2, "1:02:05")
    assert running["kpi"] == success["kpi"] == {"top1": 0.5}
    assert len({line["run_id"] for line in (started, running, success)}) == 1
    assert all(re.fullmatch(r"\d+/\d+/\d{4}", line["date"]) for line in lines(folder))
    assert all(re.fullmatch(r"\d+:\d+:\d+", line["time"]) for line in lines(folder))
    assert all(re.search(r"[+-]\d\d:\d\d$", line["timestamp"]) for line in lines(folder))
    assert (folder / "spec.yaml").read_text() == "train:\n  seed: 1\n"
    assert json.loads((folder / "report.json").read_text()) == {"top1": 0.75}
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.tltb",
        "report.json",
        "spec.yaml",
        "status.json",
    ]
    assert heartbeat_threads() == 0


OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TaoLikeError("no class has images"), "no class has images"),
        (RuntimeError("mat1 and mat2 shapes"), "RuntimeError: mat1 and mat2 shapes"),
        (KeyboardInterrupt(), "interrupted by the user (Ctrl-C)"),
        (SystemExit(1), "ended before it was done (exit code 1)"),
        (MemoryError(), "out of memory; lower dataset.batch_size, or take a smaller input or network"),
        (
            OutOfMemoryError("CUDA out of memory"),
            "out of memory; lower dataset.batch_size, or take a smaller input or network",
        ),
    ],
)
def test_every_exception_is_a_failure_and_goes_on(tmp_path: Path, error: BaseException, message: str) -> None:
    def work() -> None:
        with make_run(tmp_path) as run:
            run.status("epoch 1", kpi={"top1": 0.1})
            with run.artefact("model.tltb") as path:
                path.write_bytes(b"half")
                raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
    assert lines(tmp_path)[-1]["status"] == "FAILURE"
    assert lines(tmp_path)[-1]["message"] == message
    assert not (tmp_path / "model.tltb").exists()
    assert heartbeat_threads() == 0


def test_the_traceback_of_an_unexpected_error_is_in_the_log(tmp_path: Path) -> None:
    def work(error: Exception, debug: bool) -> str:
        with pytest.raises(type(error)), make_run(tmp_path, debug=debug):
            raise error
        return (tmp_path / "log.txt").read_text()

    assert "Traceback" not in work(TaoLikeError("expected"), debug=False)
    assert "Traceback" in work(ValueError("surprise"), debug=False)
    assert work(TaoLikeError("expected"), debug=True).count("Traceback") == 2


def test_ctrl_c_that_a_library_made_an_exit_of_is_ctrl_c_again(tmp_path: Path) -> None:
    def work() -> None:
        with make_run(tmp_path):
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # Lightning leaves it like this
                sys.exit(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "interrupted" in lines(tmp_path)[-1]["message"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("moment", ["STARTED", "SUCCESS"])
def test_ctrl_c_at_the_worst_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    append_line = listeners.append_line

    def append_and_interrupt(folder: Path, identity: Any, status: str, *rest: Any) -> None:
        append_line(folder, identity, status, *rest)
        if status == moment:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(listeners, "append_line", append_and_interrupt)
    with pytest.raises(KeyboardInterrupt), make_run(tmp_path):
        pass
    # A stage whose SUCCESS line stands is done; Ctrl-C ends the command after it.
    assert statuses(tmp_path) == (["STARTED", "SUCCESS"] if moment == "SUCCESS" else ["STARTED", "FAILURE"])
    assert heartbeat_threads() == 0
    assert not (tmp_path / ".heartbeat").exists()


def test_sigterm_is_a_failure_with_the_shell_s_exit_code(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with make_run(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(Terminated) as caught:
        work()
    assert caught.value.code == 143
    assert lines(tmp_path)[-1]["message"] == "stopped from outside (SIGTERM)"
    assert signal.getsignal(signal.SIGTERM) is before


def test_somebody_else_s_signal_handler_stays(tmp_path: Path) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    try:
        with make_run(tmp_path):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM, signal.SIGTERM]
    assert statuses(tmp_path)[-1] == "SUCCESS"


def test_runs_inside_runs_and_in_other_threads(tmp_path: Path) -> None:
    with make_run(tmp_path / "outer"):
        with make_run(tmp_path / "inner"):
            pass
        thread = threading.Thread(
            target=lambda: make_run(tmp_path / "thread").__enter__().__exit__(None, None, None)
        )
        thread.start()
        thread.join()
        with pytest.raises(Terminated), make_run(tmp_path / "second"):
            signal.raise_signal(signal.SIGTERM)
    assert [statuses(tmp_path / name)[-1] for name in ("outer", "inner", "thread", "second")] == [
        "SUCCESS",
        "SUCCESS",
        "SUCCESS",
        "FAILURE",
    ]


CHILD = """
import sys, time
from pathlib import Path
from tao_like.tracking import Run
with Run(Path(sys.argv[1]), task="classification", stage="train", spec_yaml="") as run:
    with run.artefact("model.tltb") as path:
        path.write_bytes(b"half")
        print("ready", flush=True)
        for _ in range(600):  # a signal that comes just before a sleep does not end it
            time.sleep(0.1)
"""


def start_child(folder: Path) -> subprocess.Popen[str]:
    def hear_signals() -> None:
        # A test run that was started in the background hands down ignored signals.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    command = [sys.executable, "-c", CHILD, str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=hear_signals)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_asked_to_end(tmp_path: Path, number: signal.Signals) -> None:
    child = start_child(tmp_path)
    child.send_signal(number)
    code = child.wait(10)
    # Python without the command line dies of SIGINT itself.
    assert code == (-signal.SIGINT if number == signal.SIGINT else 128 + number)
    assert statuses(tmp_path) == ["STARTED", "FAILURE"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "log.txt") == [
        "spec.yaml",
        "status.json",
    ]


def test_a_folder_in_use_is_refused_and_a_killed_run_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "model.tltb").write_bytes(b"old")
    child = start_child(tmp_path)
    try:
        with (
            pytest.raises(SpecError, match=rf"in use by another run \(process {child.pid} "),
            make_run(tmp_path),
        ):
            pass
        assert statuses(tmp_path) == ["STARTED"]
        assert (tmp_path / ".heartbeat").exists()
    finally:
        child.kill()
        child.wait()
    with make_run(tmp_path):
        pass
    assert statuses(tmp_path) == ["STARTED", "FAILURE", "STARTED", "SUCCESS"]
    dead = lines(tmp_path)[1]
    assert (dead["pid"], dead["run_id"]) == (child.pid, lines(tmp_path)[0]["run_id"])
    assert "the process is gone" in dead["message"]
    assert (tmp_path / "model.tltb").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tltb", "spec.yaml", "status.json"]


def test_messages_are_taken_literally(tmp_path: Path) -> None:
    output = io.StringIO()
    long_path = "/data/" + "x" * 300
    with make_run(tmp_path, console=Console(file=output, width=40)) as run:
        run.info(f"[red]train.gpu_ids[/red]=[0,1] :smile: {long_path}")
        run.warning("file \x1b[2J.jpg has no label")
    text = output.getvalue()
    assert f"[red]train.gpu_ids[/red]=[0,1] :smile: {long_path}\n" in text
    assert "warning: file ?[2J.jpg has no label\n" in text
    log = (tmp_path / "log.txt").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO \[red\]", log)
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING file \?", log, re.MULTILINE)


def test_long_messages_are_broken_into_lines_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: shown.append(text))
    with make_run(tmp_path, console=Console(force_jupyter=True, width=40)) as run:
        run.info("results/train/model.tltb holds " + "the network and its classes " * 5)
    lines_shown = "".join(shown).splitlines()
    assert len(lines_shown) > 3
    assert max(map(len, lines_shown)) <= 40
    assert " ".join("".join(shown).split()).endswith("the network and its classes")


def test_only_the_first_process_of_a_parallel_run_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / ".heartbeat").touch()  # the first process's
    monkeypatch.setenv("RANK", "1")
    output = io.StringIO()
    with make_run(folder, console=Console(file=output)) as run:
        run.status("epoch 1", kpi={"top1": 1.0})
        run.info("hello")
        run.warning("hello")
        run.report({})
        with run.artefact("model.tltb") as path:
            path.write_bytes(b"weights")
        with run.progress("work", 1) as progress:
            progress.advance()
    assert output.getvalue() == ""
    assert [path.name for path in folder.iterdir()] == [".heartbeat"]


def test_the_heartbeat_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tao_like.tracking.status.HEARTBEAT_SECONDS", 0.01)
    with make_run(tmp_path):
        os.utime(tmp_path / ".heartbeat", (0, 0))
        end = time.monotonic() + 5
        while (tmp_path / ".heartbeat").stat().st_mtime == 0:
            assert time.monotonic() < end
            time.sleep(0.01)
