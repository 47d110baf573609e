"""Names as other systems write them: accents as characters of their own, suffixes in capitals."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from tao_like.data.boxes.sources import BoxSource, read_boxes
from tao_like.data.images.named import named_file, same_file
from tao_like.data.masks.sources import MaskSource, read_masks

COMPOSED, TAKEN_APART = "r\u00e4d.png", "ra\u0308d.png"


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (COMPOSED, TAKEN_APART),
        (TAKEN_APART, COMPOSED),
        ("a.PNG", "a.png"),
        ("a.png", "a.Png"),
        ("sub/a.png", "sub\\a.png"),
        ("sub/a.TXT", "./sub/a.txt"),
    ],
)
def test_one_file_in_other_spellings(there: str, asked: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    assert named_file(tmp_path, asked) == tmp_path / there
    assert named_file(tmp_path, "b.png") is None
    assert same_file(tmp_path / "nowhere" / "a.png") is None
    # The case of a stem tells files apart, and a folder is no file.
    assert named_file(tmp_path, asked.replace("a", "A").replace("r", "R")) is None


def test_the_file_that_is_spelled_so_comes_first(tmp_path: Path) -> None:
    for name in ("a.txt", "a.TXT"):
        (tmp_path / name).touch()
    assert [same_file(tmp_path / name) for name in ("a.txt", "a.TXT")] == [
        tmp_path / "a.txt",
        tmp_path / "a.TXT",
    ]


def test_of_two_other_spellings_neither_is_meant(tmp_path: Path) -> None:
    (tmp_path / "a.Jpg").touch()
    (tmp_path / "a.JPG").touch()
    assert same_file(tmp_path / "a.jpg") is None
    assert named_file(tmp_path, "a.JPG") == tmp_path / "a.JPG"


def test_labels_and_images_in_other_spellings_are_read(tmp_path: Path) -> None:
    for folder in ("images", "labels", "masks"):
        (tmp_path / folder).mkdir()
    image, label = TAKEN_APART, f"{COMPOSED[:-4]}.TXT"
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / image)
    Image.new("L", (40, 20)).save(tmp_path / "masks" / COMPOSED)
    (tmp_path / "labels" / label).write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "labels" / "classes.txt").write_text("cat\n")
    content = {
        "images": [{"id": 1, "file_name": COMPOSED}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 10]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    for named in ({"label_dir": tmp_path / "labels"}, {"json_file": tmp_path / "coco.json"}):
        (record,) = read_boxes(BoxSource(image_dir=tmp_path / "images", **named), "dataset")
        assert record.path.name == image
        assert record.path.is_file()
        assert [box[:5] for box in record.boxes] == [("cat", 10, 5, 30, 15)]
    (pair,) = read_masks(MaskSource(images_dir=tmp_path / "images", masks_dir=tmp_path / "masks"), "dataset")
    assert unicodedata.normalize("NFC", pair.path.name) == pair.mask.name == COMPOSED
