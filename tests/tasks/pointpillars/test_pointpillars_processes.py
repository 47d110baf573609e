"""LiDAR detection in two processes, one of which never sees an object, on numbers of frames that are odd."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from processes import train_in_processes
from stage_runs import status_lines
from tiny_pointpillars import TINY, run, write_frames

from tao_like.bundle import read_bundle


def test_a_process_without_objects_neither_fails_nor_waits_for_ever(tmp_path: Path) -> None:
    words = write_frames(tmp_path / "data", {"train": 5, "val": 3, "test": 1})
    for split in ("train", "val"):
        labels = sorted((tmp_path / "data" / split / "label").iterdir())
        assert all(path.read_text() for path in labels)
        # Without a new order every epoch, all odd frames are the second process's.
        for path in labels[1::2]:
            path.write_text("")
    settings = [*TINY, *words, "dataset.shuffle=false", "train.num_epochs=2"]
    assert train_in_processes("pointpillars", tmp_path, settings) == [0, 0]
    lines = status_lines(tmp_path / "train")
    assert lines[-1]["status"] == "SUCCESS"
    epochs = [line["kpi"] for line in lines if "epoch" in line]
    assert len(epochs) == 2
    assert all(math.isfinite(value) for figures in epochs for value in figures.values())
    bundle = read_bundle(tmp_path / "train" / "model.tltb")
    alone = run("evaluate", tmp_path, *words, "evaluate.split=val")
    assert alone.metrics == pytest.approx(bundle.metrics, abs=1e-4)
