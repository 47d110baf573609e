"""COCO's panoptic form and index masks as objects: read lazily, pixel by pixel as the files say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.sources import BoxSource, read_boxes, stated_classes, stated_regions
from tao_like.data.masks.instances import usable_instances
from tao_like.errors import DatasetError

# Two cats and a sky of three pixels each, and a pixel of nothing. 0x010101 is gray, 0x000100 needs green.
IDS = np.array([[1, 0x010101, 0x010101, 0], [1, 1, 256, 256], [256, 0x010101, 0, 0]])
NUMBERS = {"cat": 0, "sky": 1}


def write_photo(path: Path, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 80, 70)).save(path)


def write(folder: Path, **changes: Any) -> BoxSource:
    """The map above in COCO's panoptic form."""
    write_photo(folder / "photos" / "a.png")
    write_photo(folder / "photos" / "b.png")
    (folder / "panoptic").mkdir(exist_ok=True)
    colors = np.stack([IDS % 256, IDS // 256 % 256, IDS // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(colors).save(folder / "panoptic" / "a.png")
    segments = [
        {"id": 1, "category_id": 5, "bbox": [0, 0, 2, 2], "area": 3, "iscrowd": 0},
        {"id": 0x010101, "category_id": 5, "iscrowd": 1},
        {"id": 256, "category_id": 2, "bbox": [0, 1, 4, 2], "area": 3, "iscrowd": 0},
    ]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 4, "height": 3} for n in "ab"],
        "annotations": [{"image_id": "a", "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 5, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}],
    }
    (folder / "panoptic.json").write_text(json.dumps(content | changes))
    return BoxSource(folder / "photos", folder / "panoptic.json", format="coco_panoptic")


def masks_of(record: BoxRecord) -> list[list[list[int]]]:
    _, masks = usable_instances(record.boxes, NUMBERS, 4, 3)
    return masks.tolist()


def test_each_id_is_an_object_of_its_pixels(tmp_path: Path) -> None:
    source = write(tmp_path)
    first, second = read_boxes(source, "key")
    assert (first.key, second.key, second.boxes) == ("a.png", "b.png", ())
    assert masks_of(first) == [(number == IDS).astype(int).tolist() for number in (1, 0x010101, 256)]
    assert [box.label for box in first.boxes] == ["cat", "cat", "sky"]
    assert [box.crowd for box in first.boxes] == [False, True, False]
    # The second has no bbox in the file: it is that of its pixels.
    assert [box[1:5] for box in first.boxes] == [(0, 0, 2, 2), (1, 0, 3, 3), (0, 1, 4, 3)]
    assert stated_classes(source) == ["sky", "cat"]
    assert stated_regions(source) == ["sky"]


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    (record, _) = read_boxes(write(tmp_path), "key")
    assert np.array(masks_of(record)[2]).sum() == 3
    Image.new("RGB", (4, 3), (0, 1, 0)).save(tmp_path / "panoptic" / "a.png")
    # The others have no pixel any more and are left out.
    assert masks_of(record) == [np.ones((3, 4), int).tolist()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"image_id": "a", "file_name": "c.png", "segments_info": []}]}, "no file .*c.png"),
        (
            {"annotations": [{"image_id": "a", "file_name": "a.png", "segments_info": []}] * 2},
            "the image a is annotated twice",
        ),
        (
            {"annotations": [{"image_id": "c", "file_name": "a.png", "segments_info": []}]},
            "`images` does not list",
        ),
        ({"categories": [{"id": 5, "name": "cat"}]}, r"segments_info\[2\]: category_id 2 is not among"),
        (
            {
                "annotations": [
                    {"image_id": "a", "file_name": "a.png", "segments_info": [{"id": -1, "category_id": 5}]}
                ]
            },
            r"segments_info\[0\]: id is -1",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_boxes(write(tmp_path, **changes), "key")


def test_a_file_of_another_size_or_without_colors_is_named(tmp_path: Path) -> None:
    (record, _) = read_boxes(write(tmp_path), "key")
    Image.new("RGB", (3, 4)).save(tmp_path / "panoptic" / "a.png")
    with pytest.raises(DatasetError, match=r"a.png has 3 x 4 pixels; its image has 4 x 3"):
        masks_of(record)
    Image.new("L", (4, 3)).save(tmp_path / "panoptic" / "a.png")
    with pytest.raises(
        DatasetError, match=r"a.png is an image of mode L; a panoptic file holds ids as colors"
    ):
        masks_of(record)
    elsewhere = replace(write(tmp_path), panoptic_dir=tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"no folder .*elsewhere; panoptic_dir names"):
        read_boxes(elsewhere, "key")


# --- masks of class numbers ---

VALUES = np.array([[0, 2, 2, 255], [0, 1, 2, 255], [1, 1, 0, 0]], np.uint8)


def write_lines(folder: Path, label_map: Any = None) -> BoxSource:
    """The map above as TAO's `ade` data has it."""
    write_photo(folder / "photos" / "a.png")
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(VALUES).save(folder / "masks" / "a.png")
    (folder / "train.jsonl").write_text('{"img": "photos/a.png", "segm": "masks/a.png"}\n')
    if label_map is not None:
        (folder / "labels.json").write_text(json.dumps(label_map))
    names = None if label_map is None else folder / "labels.json"
    return BoxSource(None, folder / "train.jsonl", format="ade", label_map=names)


def test_a_class_on_a_photo_is_one_object_and_0_and_255_are_none(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path, [{"id": 2, "name": "sky", "isthing": 0, "color": [1, 2, 3]}, {"id": 1, "name": "cat"}]
    )
    (record,) = read_boxes(source, "key")
    assert record.key == "photos/a.png"
    assert {box.label: box[1:5] for box in record.boxes} == {"cat": (0, 1, 2, 3), "sky": (1, 0, 3, 2)}
    assert masks_of(record) == [(value == VALUES).astype(int).tolist() for value in (1, 2)]
    assert stated_classes(source) == ["cat", "sky"]
    assert stated_regions(source) == ["sky"]
    (unnamed,) = read_boxes(write_lines(tmp_path / "other"), "key")
    assert [box.label for box in unnamed.boxes] == ["class_1", "class_2"]


def test_a_value_without_a_name_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"masks.a\.png: the mask has the value 2, which dataset.label_map"
    ):
        read_boxes(write_lines(tmp_path, [{"id": 1, "name": "cat"}]), "key")
    with pytest.raises(DatasetError, match=r"labels.json\[1\]: the id 1 is that of 'cat' too"):
        read_boxes(write_lines(tmp_path, [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]), "key")
    with pytest.raises(DatasetError, match=r"labels.json is no list"):
        read_boxes(write_lines(tmp_path, {"1": "cat"}), "key")
    with pytest.raises(DatasetError, match=r"labels.json\[0\] lacks id"):
        read_boxes(write_lines(tmp_path, [{"name": "cat"}]), "key")
