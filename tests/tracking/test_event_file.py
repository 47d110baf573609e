"""What a run writes for the program that started it as a process."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from running import make_run

from tao_like.tracking import EVENTS_FILE_VARIABLE, EventFile, event_file


def test_a_line_for_each_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with make_run(tmp_path / "train", events=[EventFile(path)]) as run:
        run.info("begun")
        run.metric({"train/loss": 0.5, "val_nan": float("nan")}, step=3)
        run.status("epoch 1 done", kpi={"val_loss": 0.25}, epoch=1, eta=61.0)
        with run.artefact("picture.png") as file:
            file.write_bytes(b"1")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds == ["status", "log", "metric", "status", "metric", "figure", "status"]
    assert lines[2]["values"] == {"train/loss": 0.5, "val_nan": None}
    assert (lines[2]["step"], lines[2]["epoch"]) == (3, None)
    assert (lines[3]["status"], lines[3]["epoch"], lines[3]["eta"]) == ("RUNNING", 1, "0:01:01")
    assert lines[5]["name"] == "picture.png"
    assert lines[6]["status"] == "SUCCESS"
    times = [line["time"] for line in lines]
    assert times == sorted(times)


def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    def write(number: int) -> None:
        for _ in range(200):
            EventFile(path).log("info", str(number) * 3000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert len(texts) == 800
    assert all(len(set(text)) == 1 and len(text) == 3000 for text in texts)


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EVENTS_FILE_VARIABLE, raising=False)
    assert event_file() is None
    monkeypatch.setenv(EVENTS_FILE_VARIABLE, str(tmp_path / "e"))
    found = event_file()
    assert found is not None
    assert found.path == tmp_path / "e"


def test_a_listener_is_told_inside_its_block_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with make_run(tmp_path / "train") as run:
        run.info("before")
        with run.listening(EventFile(path)):
            run.info("within")
        run.info("after")
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["within"]
