"""Which format labels are read as, and what each gives: the right boxes, or an error that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from tao_like.data.boxes.annotation import Box
from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.sources import BoxSource, read_boxes, recognise, stated_classes
from tao_like.data.checks.findings import Finding
from tao_like.errors import DatasetError

KITTI_3D = "1.67 1.87 3.69 -16.53 2.39 58.49 1.57"


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Pictures of 100 x 50 pixels where the text is empty and the name is a picture's; else files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            Image.new("RGB", (100, 50)).save(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def labels(root: Path, *texts: str | bytes, suffix: str = ".txt", **more: str) -> BoxSource:
    """A picture for each label file, and classes cat and dog."""
    files: dict[str, str | bytes] = {"lb/classes.txt": "cat\ndog\n"} if suffix == ".txt" else {}
    for number, text in enumerate(texts):
        files |= {f"im/{number}.png": "", f"lb/{number}{suffix}": text}
    write(root, files | more)
    return BoxSource(root / "im", label_dir=root / "lb")


def boxes(source: BoxSource, notes: Notes | None = None) -> list[tuple[Any, ...]]:
    """Class and corners of every box."""
    return [
        (box.label, *(round(value, 3) for value in box[1:5]))
        for record in read_boxes(source, "key", notes)
        for box in record.boxes
    ]


def codes(notes: Notes) -> dict[str, Finding]:
    return {finding.code: finding for finding in notes.findings()}


# KITTI


@pytest.mark.parametrize("alpha", ["1.85", "-10", "0"])
@pytest.mark.parametrize("name", ["traffic light", "red traffic light", "lane 2", "Car"])
@pytest.mark.parametrize("score", ["", " 0.93"])
def test_kitti_numbers_are_read_from_the_right(name: str, alpha: str, score: str, tmp_path: Path) -> None:
    source = labels(tmp_path, f"{name} 0.00 0 {alpha} 10 12 30 34 {KITTI_3D}{score}\n")
    assert recognise(source) == "kitti"
    assert boxes(source) == [(name, 10, 12, 30, 34)]


@pytest.mark.parametrize(
    "line",
    [
        f"Car 0.00 none 1.85 10 12 30 34 {KITTI_3D}",
        f"0 2 Pedestrian 0 0 -2.46 10 12 30 34 {KITTI_3D}",
        f"Car 0.00 0 1.85 10 12 30 34 {KITTI_3D} 7 8 9",
        f"Car 0.00 0 nan 10 12 30 34 {KITTI_3D}",
    ],
)
def test_a_line_that_is_no_kitti_is_an_error_with_its_place(line: str, tmp_path: Path) -> None:
    source = labels(tmp_path, f"Car 0.00 0 1.85 10 12 30 34 {KITTI_3D}\n{line}\n")
    with pytest.raises(DatasetError, match=r"0\.txt:2"):
        read_boxes(source, "key")


def test_kitti_written_by_people_who_fill_it_with_zeros(tmp_path: Path) -> None:
    source = labels(tmp_path, "cat 0 0 0 10 12 30 34 0 0 0 0 0 0 0\n3 0 0 0 1 2 3 4 0 0 0 0 0 0 0\n")
    assert boxes(source) == [("cat", 10, 12, 30, 34), ("3", 1, 2, 3, 4)]


# YOLO


@pytest.mark.parametrize("corners", [4, 7])
def test_yolo_polygons_are_the_box_around_them(corners: int, tmp_path: Path) -> None:
    points = ["0.1 0.1", "0.2 0.1", "0.3 0.3", "0.3 0.4", "0.2 0.5", "0.15 0.5", "0.1 0.4"]
    chosen = points if corners == 7 else [points[0], points[2], points[4], points[6]]
    notes = Notes()
    source = labels(tmp_path, f"0 {' '.join(chosen)}\n1 0.5 0.5 0.2 0.4\n")
    assert recognise(source) == "yolo"
    assert boxes(source, notes) == [("cat", 10, 5, 30, 25), ("dog", 40, 15, 60, 35)]
    assert "polygons" in codes(notes)
    (record,) = read_boxes(source, "key")
    assert record.boxes[0].segmentation == [
        pytest.approx([side for x, y in map(str.split, chosen) for side in (100 * float(x), 50 * float(y))])
    ]
    (without,) = read_boxes(source, "key", keep_segmentation=False)
    assert without.boxes[0].segmentation is None


def pose(x: float, y: float, step: int) -> str:
    """A box of 0.2 x 0.4 and five keypoints inside, the last one not labelled."""
    points = [(x - 0.08, y - 0.15), (x + 0.08, y - 0.15), (x, y), (x, y + 0.17), (0, 0)]
    values = [value for px, py in points for value in ((px, py, 2 * (px > 0))[:step])]
    return f"1 {x} {y} 0.2 0.4 {' '.join(f'{value:g}' for value in values)}\n"


@pytest.mark.parametrize("step", [2, 3])
def test_yolo_poses_keep_their_own_box(step: int, tmp_path: Path) -> None:
    places = [(0.3, 0.5), (0.5, 0.6), (0.7, 0.4), (0.6, 0.5), (0.4, 0.3)]
    notes = Notes()
    found = boxes(labels(tmp_path, *(pose(x, y, step) for x, y in places)), notes)
    assert found == [
        ("dog", *(round(v, 3) for v in (100 * x - 10, 50 * y - 10, 100 * x + 10, 50 * y + 10)))
        for x, y in places
    ]
    assert "a box and keypoints" in codes(notes)["long_lines"].message


def test_a_single_line_that_may_be_a_pose_is_asked_about(tmp_path: Path) -> None:
    source = labels(tmp_path, pose(0.5, 0.5, 2))
    with pytest.raises(DatasetError, match=r"0\.txt:1.*yolo_segment or yolo_pose"):
        read_boxes(source, "key")
    told = BoxSource(source.image_dir, label_dir=source.label_dir, format="yolo_pose")
    assert boxes(told) == [("dog", 40, 15, 60, 35)]
    write(tmp_path, {"lb/data.yaml": "names: [cat, dog]\nkpt_shape: [5, 2]\n"})
    (tmp_path / "lb" / "classes.txt").unlink()
    assert boxes(source) == [("dog", 40, 15, 60, 35)]


@pytest.mark.parametrize("number", ["nan", "inf", "1.5", "-1", "cat", "2"])
def test_a_yolo_class_that_is_none_names_its_line(number: str, tmp_path: Path) -> None:
    for kind in ("auto", "yolo"):
        source = labels(tmp_path, f"{number} 0.5 0.5 0.2 0.4\n")
        with pytest.raises(DatasetError, match=r"0\.txt:1"):
            read_boxes(BoxSource(source.image_dir, label_dir=source.label_dir, format=kind), "key")


def test_numbered_classes_have_no_blank_line_in_front_of_another(tmp_path: Path) -> None:
    source = labels(tmp_path, "1 0.5 0.5 0.2 0.4\n")
    write(tmp_path, {"lb/classes.txt": "cat\n\ndog"})
    with pytest.raises(DatasetError, match=r"classes\.txt: line 2 is blank"):
        read_boxes(source, "key")
    write(tmp_path, {"lb/classes.txt": "\ncat\ndog"})
    with pytest.raises(DatasetError, match="line 1 is blank"):
        read_boxes(source, "key")
    write(tmp_path, {"lb/classes.txt": "cat \r\ndog\r\n\r\n  \n"})
    assert boxes(source) == [("dog", 40, 15, 60, 35)]
    write(tmp_path, {"lb/classes.txt": "Füße\ncat".encode("latin-1")})
    with pytest.raises(DatasetError, match=r"classes\.txt: line 1: not UTF-8"):
        read_boxes(source, "key")
    write(tmp_path, {"lb/classes.txt": "Füße\ncat".encode("utf-16")})
    assert stated_classes(source) == ["Füße", "cat"]


# The format of a whole folder


def test_the_format_is_that_of_the_pictures_labels(tmp_path: Path) -> None:
    kitti = f"Car 0.00 0 1.85 10 12 30 34 {KITTI_3D}\n"
    source = labels(tmp_path, "", f"\n\n{kitti}", kitti)
    write(tmp_path, {"lb/README.txt": "five words are in here\n", "lb/0notes.txt": "1 2 3 4 5\n"})
    notes = Notes()
    assert boxes(source, notes) == [("Car", 10, 12, 30, 34)] * 2
    assert "KITTI: 3 .txt files" in codes(notes)["format"].message


def test_yolo_behind_a_blank_first_line_and_empty_files(tmp_path: Path) -> None:
    source = labels(tmp_path, "", "   \n0 0.5 0.5 0.2 0.4\n")
    assert recognise(source) == "yolo"
    assert boxes(source) == [("cat", 40, 15, 60, 35)]


def test_lines_of_two_formats_are_an_error_that_names_both(tmp_path: Path) -> None:
    source = labels(tmp_path, "0 0.5 0.5 0.2 0.4\n", f"Car 0.00 0 1.85 10 12 30 34 {KITTI_3D}\n")
    with pytest.raises(DatasetError, match=r"two formats: YOLO \(.*0\.txt:1\) and KITTI \(.*1\.txt:1\)"):
        read_boxes(source, "key")


def test_empty_label_files_are_pictures_without_objects(tmp_path: Path) -> None:
    assert boxes(labels(tmp_path, "", "")) == []


def test_a_missing_label_file_is_told_from_an_empty_one(tmp_path: Path) -> None:
    source = labels(tmp_path, "0 0.5 0.5 0.2 0.4\n", "", **{"im/lost.png": "", "lb/other.txt": ""})
    notes = Notes()
    assert [len(record.boxes) for record in read_boxes(source, "key", notes)] == [1, 0, 0]
    found = codes(notes)
    assert found["no_label_file"].files == (str(tmp_path / "im" / "lost.png"),)
    assert found["label_without_picture"].files == (str(tmp_path / "lb" / "other.txt"),)


def test_pictures_that_are_passed_over_are_named_with_what_to_do(tmp_path: Path) -> None:
    source = labels(tmp_path, "0 0.5 0.5 0.2 0.4\n", **{"im/IMG_1.HEIC": "x", "im/clip.mp4": "x"})
    notes = Notes()
    read_boxes(source, "key", notes)
    passed = [finding for finding in notes.findings() if finding.code == "passed_over"]
    assert [finding.files for finding in passed] == [
        (str(tmp_path / "im" / "IMG_1.HEIC"),),
        (str(tmp_path / "im" / "clip.mp4"),),
    ]
    assert "JPEG or PNG" in passed[0].message
    assert "ffmpeg" in passed[1].message


# VOC


def voc(name: str, declared: str, size: str = "") -> str:
    box = "<bndbox><xmin>11</xmin><ymin>13</ymin><xmax>30</xmax><ymax>34</ymax></bndbox>"
    return (
        f'<?xml version="1.0" encoding="{declared}"?>\n'
        f"<annotation>{size}<object><name>{name}</name>{box}</object></annotation>"
    )


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        ("gb2312", "猫"),
        ("GBK", "貓"),
        ("GB18030", "猫"),
        ("Shift_JIS", "猫①"),
        ("EUC-JP", "猫"),
        ("Big5", "貓"),
        ("EUC-KR", "고양이"),
        ("ISO-8859-1", "Füße"),
        ("utf-8", "猫"),
    ],
)
def test_voc_in_the_encoding_that_it_declares(declared: str, name: str, tmp_path: Path) -> None:
    codec = {"gb2312": "gb18030", "Shift_JIS": "cp932"}.get(declared, declared)
    source = labels(tmp_path, voc(name, declared).encode(codec), suffix=".xml")
    assert boxes(source) == [(name, 10, 12, 30, 34)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (voc("汽车", "utf-8").encode("gbk"), "not in the encoding that it declares"),
        (voc("cat", "klingon").encode(), "klingon"),
        (voc("x", "gbk").encode() + b"\x81", "gbk"),
        (voc("cat", "rot13").encode(), "rot13"),
        (
            voc("cat", "utf-8", "<size><width>nan</width><height>50</height></size>").encode(),
            "width is 'nan'",
        ),
        (voc("cat", "utf-8", "<size><width>100px</width></size>").encode(), "width is '100px'"),
    ],
)
def test_voc_that_cannot_be_read_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"0\.xml.*{words}"):
        read_boxes(labels(tmp_path, content, suffix=".xml"), "key")


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
def test_names_of_pictures_as_other_systems_write_them(name: str, tmp_path: Path) -> None:
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
    import numpy as np

    mask = np.zeros((50, 100), np.uint8, order="F")
    for column, row in points:
        mask[row, column] = 1
    return mask


# Lists


@pytest.mark.parametrize(
    "line",
    ["my photo 1", "my photo 1.png", "./my photo 1.png", "data/im/my photo 1.png", ".\\my photo 1.png"],
)
def test_lists_name_pictures_in_every_spelling(line: str, tmp_path: Path) -> None:
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


def test_a_list_of_another_split_does_not_name_the_pictures_of_this(tmp_path: Path) -> None:
    write(tmp_path, {"train/a.png": "", "lb/a.txt": "", "list.txt": "val/a.png\n"})
    source = BoxSource(tmp_path / "train", label_dir=tmp_path / "lb", list_file=tmp_path / "list.txt")
    with pytest.raises(DatasetError, match=r"listed picture val/a\.png is not in"):
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
    from tao_like.data.boxes.annotation import box_text

    box = Box("cat", 1.0, 2, 3.5, 4, crowd=True, segmentation=[[1, 2, 3, 4, 5, 6]])
    assert box_text(box) == (
        "Box(label='cat', left=1.0, top=2, right=3.5, bottom=4, crowd=True, ignore=False, area=0.0)"
    )
