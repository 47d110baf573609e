"""dataset_check leaves histograms of what the data holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_classification
import tiny_detection
from box_images import write_coco
from PIL import Image

from tao_like.data.boxes.annotation import Box, BoxRecord
from tao_like.tasks.detection.data import check


def test_detection_counts_usable_boxes_with_the_size_of_their_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "unstated.png")
    boxes = (
        Box("a", 1, 2, 11, 22),
        Box("a", 0, 0, 9, 9, crowd=True),
        Box("b", 0, 0, 9, 9, ignore=True),
        Box("b", 5, 5, 5, 5),
        Box("other", 0, 0, 9, 9),
    )
    records = {
        "train": [
            BoxRecord(tmp_path / "unstated.png", ("a",), boxes=boxes),
            BoxRecord(tmp_path / "absent.png", ("b",), boxes=(Box("b", 0, 0, 4, 4),)),
            BoxRecord(tmp_path / "stated.png", ("b",), boxes=(Box("b", 0, 0, 6, 6),), width=100, height=50),
        ],
        "val": [],
    }
    seen = []
    image = Image.new("RGB", (1, 1))
    monkeypatch.setattr(check, "draw_label_histogram", lambda *given: seen.append(given) or image)
    monkeypatch.setattr(check, "draw_box_sizes", lambda *given: seen.append(given) or image)
    assert set(check._histograms(records, ["a", "b"])) == {"labels", "box_sizes"}
    sizes, labels = seen
    assert labels == ({"train": {"a": 1, "b": 2}, "val": {"a": 0, "b": 0}}, "boxes")
    assert sizes[0] == {"train": [(1, 2, 11, 22), (0, 0, 4, 4), (0, 0, 6, 6)], "val": []}
    assert sizes[1] == {"train": [(40, 30), (0, 0), (100, 50)], "val": []}


def test_the_stage_of_detection_writes_both(tmp_path: Path) -> None:
    data = tiny_detection.data_overrides(write_coco(tmp_path, {"train": 6, "val": 3, "test": 3}))
    result = tiny_detection.run("dataset_check", tmp_path / "results", *data)
    assert {"labels.png", "box_sizes.png"} <= set(result.report["pictures"])
    for name in ("labels", "box_sizes"):
        with Image.open(result.folder / f"{name}.png") as image:
            assert image.width >= 900


def test_the_stage_of_classification_writes_labels(class_folders: Path, tmp_path: Path) -> None:
    words = ("dataset_check.likely_wrong_labels=false", "dataset_check.max_pictures=0")
    data = tiny_classification.data_overrides(class_folders)
    result = tiny_classification.run("dataset_check", tmp_path, *data, *words)
    assert result.report["pictures"] == ["labels.png"]
    assert (result.folder / "labels.png").is_file()
