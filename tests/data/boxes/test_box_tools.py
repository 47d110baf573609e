"""Files of COCO, LabelMe, CVAT and CSV, and lists of images, as tools and people write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import boxes, codes, labels, write
from pycocotools import mask as coco_masks

from tao_like.data.boxes.annotation import Box, box_text
from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.sources import BoxSource, read_boxes, recognise, stated_classes
from tao_like.errors import DatasetError

# COCO


def coco(root: Path, **changes: Any) -> BoxSource:
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 50}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 12, 20, 22]}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    write(root, {"im/a.png": "", "c.json": json.dumps(content | changes)})
    return BoxSource(root / "im", root / "c.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
            r"categories\[1\].*'dog'.*'cat'",
        ),
        ({"categories": [{"id": 1, "name": None}]}, r"categories\[0\]: the name is None"),
        ({"categories": [{"id": 1, "name": " "}]}, r"categories\[0\]: the name is ' '"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": "100px"}]}, r"images\[0\]: width is '100px'"),
        ({"images": [{"id": 1, "file_name": None}]}, r"images\[0\]: file_name"),
        (
            {"images": [{"id": 1, "file_name": "a.png"}, {"id": "1", "file_name": "b.png"}]},
            "id 1 is there twice",
        ),
    ],
)
def test_what_is_wrong_in_coco_is_named(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"c\.json: .*{words}"):
        read_boxes(coco(tmp_path, **changes), "key")


@pytest.mark.parametrize(
    ("value", "flag"),
    [("0", False), ("1", True), ("false", False), ("True", True), (None, False), (1.0, True)],
)
@pytest.mark.parametrize("name", ["iscrowd", "ignore"])
def test_marks_may_be_texts(name: str, value: object, flag: bool, tmp_path: Path) -> None:
    entry = {"image_id": 1, "category_id": 1, "bbox": [10, 12, 20, 22], name: value}
    ((box,),) = [record.boxes for record in read_boxes(coco(tmp_path, annotations=[entry]), "key")]
    assert (box.crowd, box.ignore) == (flag and name == "iscrowd", flag and name == "ignore")
    with pytest.raises(DatasetError, match=rf"annotations\[0\]: {name} is 'perhaps'"):
        read_boxes(coco(tmp_path, annotations=[entry | {name: "perhaps"}]), "key")


def test_blanks_around_names_make_no_second_class(tmp_path: Path) -> None:
    source = coco(tmp_path, categories=[{"id": 1, "name": " cat "}, {"id": 2, "name": "cat"}])
    assert stated_classes(source) == ["cat"]
    assert boxes(source) == [("cat", 10, 12, 30, 34)]


def test_ids_may_be_texts(tmp_path: Path) -> None:
    source = coco(
        tmp_path,
        images=[{"id": "img-a", "file_name": "a.png"}],
        annotations=[{"image_id": "img-a", "category_id": "1", "bbox": [10, 12, 20, 22]}],
    )
    assert boxes(source) == [("cat", 10, 12, 30, 34)]


@pytest.mark.parametrize(
    "name", ["sub\\b.png", ".\\sub\\b.png", "./sub/b.png", "data/im/sub/b.png", "C:\\me\\im\\sub\\b.png"]
)
def test_names_of_images_as_other_systems_write_them(name: str, tmp_path: Path) -> None:
    source = coco(tmp_path, images=[{"id": 1, "file_name": name}])
    write(tmp_path, {"im/sub/b.png": ""})
    (record,) = read_boxes(source, "key")
    assert (record.path, record.key) == (tmp_path / "im" / "sub" / "b.png", "sub/b.png")


def test_outlines_are_kept_and_give_the_boxes_that_are_missing(tmp_path: Path) -> None:
    mask = coco_masks.encode(coco_mask([(20, 5), (21, 49), (30, 10)]))
    packed = {"size": mask["size"], "counts": mask["counts"].decode()}
    polygon = [[10.5, 5, 40, 5, 40, 30], [50, 20, 60, 20, 60, 45.5]]
    annotations = [
        {"image_id": 1, "category_id": 1, "segmentation": polygon},
        {"image_id": 1, "category_id": 2, "segmentation": packed, "bbox": []},
        {
            "image_id": 1,
            "category_id": 2,
            "segmentation": {"size": [50, 100], "counts": [105, 3, 47, 2, 4843]},
        },
        {"image_id": 1, "category_id": 2, "bbox": None},
    ]
    notes = Notes()
    source = coco(tmp_path, annotations=annotations)
    left, top, width, height = coco_masks.toBbox(mask)
    assert boxes(source, notes) == [
        ("cat", 10.5, 5, 60, 45.5),
        ("dog", left, top, left + width, top + height),
        ("dog", 2, 5, 4, 8),
    ]
    assert codes(notes)["no_box"].files[0].endswith("annotations[3]")
    (record,) = read_boxes(source, "key")
    assert record.boxes[0].segmentation == polygon
    assert record.boxes[1].segmentation == packed
    with pytest.raises(DatasetError, match="none of its 1 annotations"):
        read_boxes(coco(tmp_path, annotations=annotations[3:]), "key")


def coco_mask(points: list[tuple[int, int]]) -> Any:
    mask = np.zeros((50, 100), np.uint8, order="F")
    for column, row in points:
        mask[row, column] = 1
    return mask


# Lists


@pytest.mark.parametrize(
    "line",
    ["my photo 1", "my photo 1.png", "./my photo 1.png", "data/im/my photo 1.png", ".\\my photo 1.png"],
)
def test_lists_name_images_in_every_spelling(line: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "im/my photo 1.png": "",
            "im/my photo.png": "",
            "im/other.png": "",
            "lb/my photo 1.txt": "0 0.5 0.5 0.2 0.4",
            "lb/my photo.txt": "",
            "lb/classes.txt": "cat\n",
            "list.txt": f"{line}\n{line}\n",
        },
    )
    source = BoxSource(tmp_path / "im", label_dir=tmp_path / "lb", list_file=tmp_path / "list.txt")
    notes = Notes()
    assert [record.key for record in read_boxes(source, "key", notes)] == ["my photo 1.png"]
    assert codes(notes)["listed_twice"].files == (str(tmp_path / "im" / "my photo 1.png"),)


def test_a_list_of_another_split_does_not_name_the_images_of_this(tmp_path: Path) -> None:
    write(tmp_path, {"train/a.png": "", "lb/a.txt": "", "list.txt": "val/a.png\n"})
    source = BoxSource(tmp_path / "train", label_dir=tmp_path / "lb", list_file=tmp_path / "list.txt")
    with pytest.raises(DatasetError, match=r"listed image val/a\.png is not in"):
        read_boxes(source, "key")


# LabelMe, CVAT, CSV


def test_labelme(tmp_path: Path) -> None:
    shapes = [
        {"label": "cat", "shape_type": "rectangle", "points": [[30, 34], [10, 12]]},
        {"label": "dog", "shape_type": "polygon", "points": [[40, 10], [60, 20], [50, 45]]},
        {"label": "cat", "shape_type": "circle", "points": [[50, 25], [53, 29]]},
        {"label": "cat", "shape_type": "point", "points": [[1, 1]]},
    ]
    content = {"shapes": shapes, "imagePath": "0.png", "imageWidth": 100, "imageHeight": 50}
    source = labels(tmp_path, json.dumps(content), suffix=".json")
    notes = Notes()
    assert recognise(source) == "labelme"
    assert boxes(source, notes) == [("cat", 10, 12, 30, 34), ("dog", 40, 10, 60, 45), ("cat", 45, 20, 55, 30)]
    assert codes(notes)["no_box"].files[0].endswith("shapes[3]")


def test_cvat(tmp_path: Path) -> None:
    text = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><job><labels><label><name>dog</name></label><label><name>cat</name></label></labels></job></meta>
<image id="0" name="sub\\a.png" width="100" height="50">
<box label="cat" occluded="0" xtl="10.00" ytl="12.00" xbr="30.00" ybr="34.00" z_order="0"></box>
<box label="cat" xtl="40" ytl="20" xbr="60" ybr="30" rotation="90"/>
<polygon label="dog" points="40.00,10.00;60.00,20.00;50.00,45.00"/>
<points label="dog" points="1,1"/>
</image>
<image id="1" name="empty.png" width="100" height="50"/></annotations>"""
    write(tmp_path, {"images/sub/a.png": "", "images/empty.png": "", "annotations.xml": text})
    source = BoxSource(tmp_path / "images", label_file=tmp_path / "annotations.xml")
    assert recognise(source) == "cvat"
    assert boxes(source) == [("cat", 10, 12, 30, 34), ("cat", 45, 15, 55, 35), ("dog", 40, 10, 60, 45)]
    assert [record.key for record in read_boxes(source, "key")] == ["sub/a.png", "empty.png"]
    assert stated_classes(source) == ["dog", "cat"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.png,100,50,cat,10,12,30,34"),
        ("image_path;label;x1;y1;x2;y2", "im\\a.png;cat;10;12;30;34"),
        ("file\tname\tx\ty\tw\th", "a.png\tcat\t10\t12\t20\t22"),
        ("ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax", "a,cat,1,0.1,0.3,0.24,0.68"),
    ],
)
def test_csv_of_boxes(header: str, row: str, tmp_path: Path) -> None:
    write(tmp_path, {"im/a.png": "", "boxes.csv": f"{header}\n{row}\n"})
    source = BoxSource(tmp_path / "im", label_file=tmp_path / "boxes.csv")
    assert recognise(source) == "csv"
    assert boxes(source) == [("cat", 10, 12, 30, 34)]


def test_csv_faults_name_their_line(tmp_path: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    source = BoxSource(tmp_path / "im", label_file=tmp_path / "boxes.csv")
    for row, words in {
        "a.png,100,50,cat,10,12,30,wide": r"line 2: 'wide'",
        "a.png,100px,50,cat,10,12,30,34": r"line 2: width is '100px'",
        "a.png,100,50,,10,12,30,34": "line 2: the class is missing",
        "a.png,100,50": "line 2: 3 cells",
    }.items():
        write(tmp_path, {"im/a.png": "", "boxes.csv": f"{header}{row}\n"})
        with pytest.raises(DatasetError, match=rf"boxes\.csv: {words}"):
            read_boxes(source, "key")
    write(tmp_path, {"boxes.csv": f"{header}a.png,100,50,,,,,\n"})
    assert [record.boxes for record in read_boxes(source, "key")] == [()]


def test_a_box_in_a_fingerprint_is_written_as_before() -> None:
    box = Box("cat", 1.0, 2, 3.5, 4, crowd=True, segmentation=[[1, 2, 3, 4, 5, 6]])
    assert box_text(box) == (
        "Box(label='cat', left=1.0, top=2, right=3.5, bottom=4, crowd=True, ignore=False, area=0.0)"
    )
