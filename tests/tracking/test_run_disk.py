"""Runs on a disk that is full, in a folder that cannot be written to, or that somebody takes away."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from pathlib import Path

import pytest
from rich.console import Console
from running import heartbeat_threads, make_run, statuses

from tao_like.errors import SpecError, TaoLikeError


def test_a_full_disk_while_running_names_the_folder(tmp_path: Path) -> None:
    output = io.StringIO()

    def work() -> None:
        with make_run(tmp_path, console=Console(file=output)) as run:
            (tmp_path / "status.json").unlink()
            (tmp_path / "status.json").symlink_to("/dev/full")
            run.status("epoch 1")

    with pytest.raises(TaoLikeError, match=f"no space left on the disk that holds {tmp_path}"):
        work()
    assert output.getvalue() == ""  # the command line prints the error; once is enough
    assert heartbeat_threads() == 0
    # Somebody made room; the same process may go on in the same folder.
    (tmp_path / "status.json").unlink()
    with make_run(tmp_path):
        pass
    assert statuses(tmp_path) == ["STARTED", "SUCCESS"]


def test_a_full_disk_does_not_hide_what_ended_the_run(tmp_path: Path) -> None:
    output = io.StringIO()

    def work() -> None:
        with make_run(tmp_path, console=Console(file=output)):
            (tmp_path / "status.json").unlink()
            (tmp_path / "status.json").symlink_to("/dev/full")
            raise ValueError("bad shapes")

    with pytest.raises(ValueError, match="bad shapes"):
        work()
    assert "warning: the failure is not in status.json: no space left" in output.getvalue()


def test_a_run_that_cannot_say_that_it_succeeded_has_failed(tmp_path: Path) -> None:
    def work() -> None:
        with make_run(tmp_path):
            (tmp_path / "status.json").rename(tmp_path / "moved")
            (tmp_path / "status.json").symlink_to("/dev/full")

    with pytest.raises(TaoLikeError, match="no space left"):
        work()
    (tmp_path / "status.json").unlink()
    (tmp_path / "moved").rename(tmp_path / "status.json")
    with make_run(tmp_path):
        pass
    assert statuses(tmp_path) == ["STARTED", "FAILURE", "STARTED", "SUCCESS"]


def test_a_disk_that_is_full_from_the_start_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "status.json").symlink_to("/dev/full")
    output = io.StringIO()
    with pytest.raises(TaoLikeError, match="no space left"), make_run(tmp_path, console=Console(file=output)):
        pass
    assert output.getvalue() == ""
    assert heartbeat_threads() == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(SpecError, match="a file has this name"), make_run(tmp_path / "results" / "train"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        pytest.raises(SpecError, match=r"no permission to read and write in .*results_dir"),
        make_run(tmp_path / "train"),
    ):
        pass


def test_a_removed_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "train"

    def work() -> None:
        with make_run(folder) as run:
            folder.rename(tmp_path / "elsewhere")
            run.status("epoch 1")

    with pytest.raises(TaoLikeError, match="is gone"):
        work()


def test_the_last_line_has_room_on_a_disk_that_filled_up(tmp_path: Path) -> None:
    """Fills a real disk of 64 blocks to the last byte; needs the right to mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small disk here")

    def work() -> None:
        with make_run(tmp_path / "train") as run:
            while True:
                run.status("x" * 500)

    try:
        with pytest.raises(TaoLikeError, match="no space left"):
            work()
        assert (tmp_path / "train" / "status.json").read_text().splitlines()[-1].count("FAILURE") == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
