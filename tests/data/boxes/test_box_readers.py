"""Readers of boxes: COCO, VOC, KITTI, YOLO, and what is wrong in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tao_like.data.boxes.annotation import Box, BoxRecord, usable_boxes
from tao_like.data.boxes.checks import check_boxes
from tao_like.data.boxes.sources import BoxSource, read_boxes, recognise, stated_classes
from tao_like.errors import DatasetError

VOC = """\
<annotation>
  <filename>elsewhere.jpg</filename>
  <size><width>60</width><height>40</height><depth>3</depth></size>
  <object>
    <name>cat</name><difficult>0</difficult>
    <bndbox><xmin>1</xmin><ymin>11</ymin><xmax>20</xmax><ymax>40</ymax></bndbox>
  </object>
  <object>
    <name>dog</name><difficult>1</difficult>
    <bndbox><xmin>30.5</xmin><ymin>5</ymin><xmax>60</xmax><ymax>20</ymax></bndbox>
  </object>
</annotation>
"""
KITTI = """\
Car 0.00 0 1.85 10.00 5.00 30.50 20.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57
DontCare -1 -1 -10 0.00 0.00 8.00 6.00 -1 -1 -1 -1000 -1000 -1000 -10
"""


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), "grey").save(path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images of 60 x 40 pixels, one of them in a folder below."""
    image(tmp_path / "images" / "one.png")
    image(tmp_path / "images" / "more" / "two.jpg")
    return tmp_path / "images"


def coco(folder: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "images": [
            {"id": 9, "file_name": "one.png", "width": 60, "height": 40},
            {"id": 4, "file_name": "more/two.jpg"},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 9,
                "category_id": 90,
                "bbox": [10, 5.5, 20, 30],
                "area": 321.0,
                "iscrowd": 0,
            },
            {"id": 2, "image_id": 9, "category_id": 2, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 2, "name": "ape"}, {"id": 3, "name": "bear"}],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_coco(images: Path) -> None:
    source = BoxSource(images, coco(images.parent))
    one, two = read_boxes(source, "key")
    assert (one.path, one.key, one.width, one.height) == (images / "one.png", "one.png", 60, 40)
    assert one.boxes == (
        Box("zebra", 10, 5.5, 30, 35.5, area=321.0),
        Box("ape", 0, 0, 60, 40, crowd=True),
    )
    assert one.labels == ("ape", "zebra")
    assert (two.boxes, two.labels, two.path) == ((), (), images / "more" / "two.jpg")
    assert stated_classes(source) == ["ape", "bear", "zebra"]


@pytest.mark.parametrize("area", [10**400, -1, "9", None, float("nan")])
def test_an_area_that_no_object_can_have_is_that_of_the_box(images: Path, area: Any) -> None:
    box = {"image_id": 9, "category_id": 2, "bbox": [0, 0, 2, 3], "area": area}
    one, _ = read_boxes(BoxSource(images, coco(images.parent, annotations=[box])), "key")
    assert one.boxes == (Box("ape", 0, 0, 2, 3),)


def test_a_place_is_named_once(images: Path) -> None:
    path = coco(images.parent, images=None)
    with pytest.raises(DatasetError) as caught:
        read_boxes(BoxSource(images, path), str(path))
    assert str(caught.value).count(path.name) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "no list `images`"),
        ({"annotations": [{"image_id": 9, "category_id": 5, "bbox": [0, 0, 1, 1]}]}, r"\[0\].*category_id 5"),
        ({"annotations": [{"image_id": 9, "category_id": 2, "bbox": [0, 0, 1]}]}, r"\[0\].*bbox"),
        ({"annotations": [{"image_id": 9, "category_id": 2, "bbox": [0, 0, 1, 10**400]}]}, "bbox is"),
        ({"annotations": [{"image_id": 9, "category_id": 2}]}, "none of its 1 annotations has a `bbox`"),
        (
            {"annotations": [{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}]},
            "`images` does not list",
        ),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}, "id 1 is there twice"),
        ({"categories": [{"id": None, "name": "a"}]}, "whole number"),
    ],
)
def test_what_is_wrong_in_a_coco_file_is_named(images: Path, changes: dict[str, Any], words: str) -> None:
    path = coco(images.parent, **changes)
    with pytest.raises(DatasetError, match=rf"sources\[0\].*labels\.json.*{words}"):
        read_boxes(BoxSource(images, path), "sources[0]")


def test_a_file_that_is_no_json_is_named(images: Path) -> None:
    (images / "broken.json").write_text('{"images": [')
    with pytest.raises(DatasetError, match=r"broken\.json is not valid JSON"):
        read_boxes(BoxSource(images, images / "broken.json"), "key")
    with pytest.raises(DatasetError, match=r"there is no file .*nowhere\.json"):
        read_boxes(BoxSource(images, images / "nowhere.json"), "key")


def label(images: Path, name: str, text: str) -> Path:
    path = images.parent / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return images.parent / "labels"


def test_voc_counts_from_one_and_to_the_last_pixel(images: Path) -> None:
    source = BoxSource(images, label_dir=label(images, "one.xml", VOC))
    assert recognise(source) == "voc"
    two, one = read_boxes(source, "key")
    assert one.boxes == (Box("cat", 0, 10, 20, 40), Box("dog", 29.5, 4, 60, 20, ignore=True))
    assert (one.width, one.height, one.labels) == (60, 40, ("cat",))
    assert (two.key, two.boxes) == ("more/two.jpg", ())


def test_kitti(images: Path) -> None:
    source = BoxSource(images, label_dir=label(images, "more/two.txt", KITTI))
    assert recognise(source) == "kitti"
    two, _ = read_boxes(source, "key")
    assert two.boxes == (Box("Car", 10, 5, 30.5, 20), Box("DontCare", 0, 0, 8, 6, ignore=True))


def test_yolo(images: Path) -> None:
    labels = label(images, "one.txt", "1 0.5 0.5 0.2 0.5\n\n")
    (labels / "classes.txt").write_text("cat\ndog\n")
    source = BoxSource(images, label_dir=labels)
    assert recognise(source) == "yolo"
    _, one = read_boxes(source, "key")
    assert one.boxes[0].label == "dog"
    assert one.boxes[0][1:5] == pytest.approx((24, 10, 36, 30))
    assert stated_classes(source) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("one.xml", "<annotation><object>", r"one\.xml is not valid XML"),
        ("one.xml", VOC.replace("<xmin>1</xmin>", "<xmin>left</xmin>"), r"object 1: xmin: 'left'"),
        ("one.xml", VOC.replace("<name>dog</name>", ""), "object 2 has no name"),
        ("one.txt", KITTI + "Car 1 2 3", r"one\.txt:3 has 4 fields"),
        ("one.txt", KITTI.replace("30.50", "wide"), r"one\.txt:1: 'wide'"),
    ],
)
def test_what_is_wrong_in_a_label_file_is_named(images: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        read_boxes(BoxSource(images, label_dir=label(images, name, text)), "key")


@pytest.mark.parametrize(("text", "words"), [("2 0 0 1 1", "no class 2"), ("0 1 1", "3 fields")])
def test_what_is_wrong_in_a_yolo_file_is_named(images: Path, text: str, words: str) -> None:
    labels = label(images, "one.txt", text)
    with pytest.raises(DatasetError, match="classes_file"):
        read_boxes(BoxSource(images, label_dir=labels, format="yolo"), "key")
    (labels / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DatasetError, match=words):
        read_boxes(BoxSource(images, label_dir=labels, format="yolo"), "key")


def test_a_list_takes_what_it_names(images: Path) -> None:
    labels = label(images, "one.xml", VOC)
    (images.parent / "train.txt").write_text("one\n")
    source = BoxSource(images, label_dir=labels, list_file=images.parent / "train.txt")
    assert [record.key for record in read_boxes(source, "key")] == ["one.png"]
    (images.parent / "train.txt").write_text("one\nmore/two 1\n")
    with pytest.raises(DatasetError, match=r"two\.jpg is listed, but its label file"):
        read_boxes(source, "key")
    (images.parent / "train.txt").write_text("three\n")
    with pytest.raises(DatasetError, match="listed image three is not in"):
        read_boxes(source, "key")


def test_labels_that_belong_to_no_image_are_an_error(images: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 2 images"):
        read_boxes(BoxSource(images, label_dir=label(images, "other.xml", VOC)), "key")
    with pytest.raises(DatasetError, match="no folder"):
        read_boxes(BoxSource(images, label_dir=images / "nowhere"), "key")
    with pytest.raises(DatasetError, match="neither json_file"):
        read_boxes(BoxSource(images), "key")


BOXES = (
    Box("cat", 5, 5, 20, 20),
    Box("cat", 10, 10, 10, 10),
    Box("cat", 70, 5, 90, 20),
    Box("dog", 50, 30, 80, 60),
    Box("emu", 5, 5, 9, 9),
    Box("dog", -1, 0, 30, 40.5, crowd=True),
    Box("", 0, 0, 5, 5, ignore=True),
)


def test_boxes_that_cannot_be_used_are_counted_and_left_out(images: Path) -> None:
    record = BoxRecord(images / "one.png", ("cat", "dog", "emu"), "", "one.png", BOXES)
    empty = BoxRecord(images / "more" / "two.jpg", (), "", "two.jpg", (), width=40, height=60)
    report = check_boxes({"train": [record, empty]}, ["cat", "dog"])
    found = {finding.code: finding for finding in report.findings}
    assert found.keys() == {
        "empty_box",
        "outside_box",
        "partly_outside_box",
        "unknown_class",
        "other_size",
        "empty_pictures",
        "not_scored",
    }
    assert "cat (10, 10, 10, 10)" in found["empty_box"].files[0]
    assert "60 x 40" in found["other_size"].files[0]
    assert not [finding for finding in report.findings if finding.level == "error"]
    assert report.summary["train"]["per_class"] == {"cat": 1, "dog": 1}
    arrays = usable_boxes(BOXES, {"cat": 0, "dog": 1}, 60, 40)
    assert arrays.labels.tolist() == [0, 1, 1, -1]
    assert arrays.boxes.tolist() == [[5, 5, 20, 20], [50, 30, 60, 40], [0, 0, 30, 40], [0, 0, 5, 5]]
    assert arrays.crowd.tolist() == [False, False, True, True]
    assert arrays.areas.tolist() == [225, 100, 1200, 25]


def test_a_box_with_sides_that_are_no_numbers_is_left_out(images: Path) -> None:
    nan = float("nan")
    assert (
        len(usable_boxes([Box("cat", nan, 0, 5, 5), Box("cat", 0, 0, np.inf, 5)], {"cat": 0}, 60, 40).boxes)
        == 1
    )


def test_training_data_without_a_box_is_an_error(images: Path) -> None:
    record = BoxRecord(images / "one.png", (), "", "one.png")
    report = check_boxes({"train": [record], "val": [record]}, [])
    assert [(finding.level, finding.code) for finding in report.findings] == [
        ("error", "no_boxes"),
        ("warning", "no_boxes"),
    ]


def test_a_coco_file_that_lists_an_image_twice_is_an_error(images: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "bbox": [1, 1, 4, 4]} for number in (1, 2)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (images.parent / "twice.json").write_text(json.dumps(content))
    with pytest.raises(
        DatasetError, match=r"images\[1\]: a\.png and a\.png are one file.*all of its annotations"
    ):
        read_boxes(BoxSource(image_dir=images, json_file=images.parent / "twice.json"), "dataset")


def test_a_box_that_is_there_twice_is_named(images: Path) -> None:
    boxes = (Box("cat", 5, 5, 20, 20), Box("dog", 5, 5, 20, 20), Box("cat", 5, 5, 20, 20))
    report = check_boxes({"train": [BoxRecord(images / "one.png", (), "", "one.png", boxes)]}, ["cat", "dog"])
    (finding,) = report.findings
    assert (finding.level, finding.code) == ("warning", "repeated_box")
    assert finding.files == (f"{images / 'one.png'}: cat (5, 5, 20, 20)",)
