"""Detection in two processes, one of which never sees an object, on numbers of images that are odd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from box_images import write_coco
from processes import train_in_processes
from stage_runs import status_lines
from tiny_detection import TINY, data_overrides, run

from tao_like.bundle import read_bundle


def without_boxes_of_odd_images(file: Path) -> None:
    """Leaves the objects of every other image: with two processes, all of them are the first one's."""
    content = json.loads(file.read_text())
    even = {image["id"] for image in content["images"][::2]}
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in even]
    file.write_text(json.dumps(content))


def test_a_process_without_objects_neither_fails_nor_waits_for_ever(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "data", {"train": 9, "val": 5, "test": 1})
    for split in ("train", "val"):
        without_boxes_of_odd_images(folder / f"{split}.json")
    settings = [*TINY, *data_overrides(folder), "dataset.shuffle=false", "dataset.batch_size=2"]
    assert train_in_processes("detection", tmp_path, [*settings, "train.num_epochs=2"]) == [0, 0]
    lines = status_lines(tmp_path / "train")
    assert lines[-1]["status"] == "SUCCESS"
    bundle = read_bundle(tmp_path / "train" / "model.tltb")
    alone = run("evaluate", tmp_path, *data_overrides(folder), "evaluate.split=val")
    assert alone.metrics == pytest.approx(bundle.metrics, abs=1e-4)
    last = [line for line in lines if "epoch" in line][-1]["kpi"]
    assert last["val_mAP50"] == pytest.approx(bundle.metrics["mAP50"], abs=1e-4)
