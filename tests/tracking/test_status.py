from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tao_like.errors import SpecError
from tao_like.tracking import Run, read_status
from tao_like.tracking.process import this_process


def write_lines(folder: Path, *lines: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def line(status: str, **fields: Any) -> dict[str, Any]:
    process = this_process()
    return {
        "date": "11/2/2025",
        "time": "9:5:0",
        "timestamp": "2025-11-02T09:05:00.000+01:00",
        "status": status,
        "message": status.lower(),
        "task": "classification",
        "stage": "train",
        "run_id": "a",
        "host": process.host,
        "pid_namespace": process.namespace,
        "pid": 1,
        "pid_start": 1,
        **fields,
    }


def test_what_runs_have_said(tmp_path: Path) -> None:
    for stage in ("train", "evaluate"):
        with Run(tmp_path / stage, task="classification", stage=stage, spec_yaml="") as run:
            run.status("going", kpi={"top1": 0.25, "loss": 2.0}, epoch=3, max_epoch=9, eta=10)
            run.status("going on", step=40)
            now = read_status(tmp_path)[-1]
            assert (now.status, now.message, now.alive, now.eta) == ("RUNNING", "going on", True, "0:00:10")
    train, evaluate = read_status(tmp_path)
    assert (train.stage, evaluate.stage, train.task) == ("train", "evaluate", "classification")
    assert (train.status, train.alive, train.eta) == ("SUCCESS", False, None)
    assert train.kpi == {"top1": 0.25, "loss": 2.0}
    assert (train.epoch, train.max_epoch, train.step) == (3, 9, 40)
    assert train.folder == tmp_path / "train"
    assert timedelta(0) <= train.when - train.began < timedelta(minutes=1)
    assert datetime.now().astimezone() - train.when < timedelta(minutes=1)
    assert read_status(tmp_path / "train") == [train]


def test_only_the_last_run_of_a_folder_speaks(tmp_path: Path) -> None:
    write_lines(
        tmp_path,
        line("STARTED", run_id="old"),
        line("RUNNING", run_id="old", kpi={"top1": 0.9}, epoch=5),
        line("SUCCESS", run_id="old"),
        line("STARTED", run_id="new"),
        line("FAILURE", run_id="new", message="out of memory"),
    )
    (status,) = read_status(tmp_path)
    assert (status.status, status.message, status.kpi, status.epoch) == ("FAILURE", "out of memory", {}, None)


def test_a_dead_run_is_marked_once(tmp_path: Path) -> None:
    # Process 1 lives, but it did not start at tick 1.
    write_lines(tmp_path / "train", line("STARTED"), line("RUNNING", kpi={"top1": 0.5}, epoch=2))
    for _ in range(2):
        (status,) = read_status(tmp_path)
        assert status.status == "FAILURE"
        assert "the process is gone" in status.message
        assert (status.kpi, status.epoch) == ({"top1": 0.5}, 2)
    text = (tmp_path / "train" / "status.json").read_text()
    assert [json.loads(line)["status"] for line in text.splitlines()] == ["STARTED", "RUNNING", "FAILURE"]


def test_half_a_last_line_of_a_killed_process(tmp_path: Path) -> None:
    write_lines(tmp_path, line("STARTED"))
    with (tmp_path / "status.json").open("a") as file:
        file.write('{"status": "RUNNING", "message": "epo')
    (status,) = read_status(tmp_path)
    assert status.status == "FAILURE"
    last = (tmp_path / "status.json").read_text().splitlines()[-1]
    assert json.loads(last)["status"] == "FAILURE"


@pytest.mark.parametrize(("silent_for", "expected"), [(60, "RUNNING"), (400, "FAILURE"), (None, "FAILURE")])
def test_a_run_on_another_machine_lives_by_its_heartbeat(
    tmp_path: Path, silent_for: int | None, expected: str
) -> None:
    write_lines(tmp_path, line("STARTED", host="node7"), line("RUNNING", host="node7"))
    if silent_for is not None:
        (tmp_path / ".heartbeat").touch()
        then = time.time() - silent_for
        os.utime(tmp_path / ".heartbeat", (then, then))
    (status,) = read_status(tmp_path)
    assert (status.status, status.alive) == (expected, expected == "RUNNING")


def test_a_file_of_another_tool_is_read_and_left_alone(tmp_path: Path) -> None:
    foreign = {
        "date": "5/6/2025",
        "time": "10:0:0",
        "status": "RUNNING",
        "message": "Train finished successfully.",
    }
    write_lines(tmp_path / "train", foreign)
    (status,) = read_status(tmp_path)
    assert (status.stage, status.status, status.message) == (
        "train",
        "RUNNING",
        "Train finished successfully.",
    )
    assert status.process is None
    assert json.loads((tmp_path / "train" / "status.json").read_text()) == foreign


def test_garbage_and_empty_files_say_nothing(tmp_path: Path) -> None:
    for name, content in {"empty": b"", "binary": bytes(range(256)), "list": b"[1]\n3\nnull\n{}\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "status.json").write_bytes(content)
    assert read_status(tmp_path) == []


def test_a_folder_that_cannot_be_written_still_gets_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(tmp_path, line("STARTED"))
    before = (tmp_path / "status.json").read_text()
    real_open = Path.open

    def refuse_writing(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "a" in mode:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse_writing)
    (status,) = read_status(tmp_path)
    assert status.status == "FAILURE"
    assert (tmp_path / "status.json").read_text() == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nowhere is not a folder"):
        read_status(tmp_path / "nowhere")
