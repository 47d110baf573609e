"""Which format labels are read as, and what each gives: the right boxes, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_files import boxes, codes, labels, write

from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.sources import BoxSource, read_boxes, recognise, stated_classes
from tao_like.errors import DatasetError

KITTI_3D = "1.67 1.87 3.69 -16.53 2.39 58.49 1.57"


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


def test_the_format_is_that_of_the_images_labels(tmp_path: Path) -> None:
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


def test_empty_label_files_are_images_without_objects(tmp_path: Path) -> None:
    assert boxes(labels(tmp_path, "", "")) == []


def test_a_missing_label_file_is_told_from_an_empty_one(tmp_path: Path) -> None:
    source = labels(tmp_path, "0 0.5 0.5 0.2 0.4\n", "", **{"im/lost.png": "", "lb/other.txt": ""})
    notes = Notes()
    assert [len(record.boxes) for record in read_boxes(source, "key", notes)] == [1, 0, 0]
    found = codes(notes)
    assert found["no_label_file"].files == (str(tmp_path / "im" / "lost.png"),)
    assert found["label_without_picture"].files == (str(tmp_path / "lb" / "other.txt"),)


def test_images_that_are_passed_over_are_named_with_what_to_do(tmp_path: Path) -> None:
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
