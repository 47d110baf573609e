"""Reading images from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tao_like.data.images.csv_lists import peek_csv, read_csv
from tao_like.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg", "c, d.jpg", "é.png"):
        (tmp_path / "images" / name).write_bytes(b"x")
    return tmp_path


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "labels.csv").write_bytes(text.encode(encoding))
    return folder / "labels.csv"


def read(folder: Path, text: str, **options: object) -> dict[str, tuple[str, ...]]:
    return {record.key: record.labels for record in read_csv(table(folder, text), **options)}


@pytest.mark.parametrize(
    "header", ["path,label", "Image,Label", "filename,class", "File Name,class_name", "file,labels"]
)
def test_usual_names_of_the_columns(folder: Path, header: str) -> None:
    assert read(folder, f"{header}\nimages/b.jpg,x\nimages/a.jpg,y\n") == {
        "images/a.jpg": ("y",),
        "images/b.jpg": ("x",),
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_quotes_byte_order_mark_and_blank_lines(folder: Path, separator: str) -> None:
    name = f'"c, d.jpg"{separator}"two{separator} words"' if separator != ";" else '"c, d.jpg";"two, words"'
    text = f"\ufeffpath{separator}label\r\n\r\n{name}\r\n{separator}\r\né.png{separator}ö\r\n"
    labels = read(folder, text, images_dir=folder / "images", multi_label=False)
    assert labels == {"c, d.jpg": (f"two{separator if separator != ';' else ','} words",), "é.png": ("ö",)}


def test_what_pythons_own_writer_writes_is_read(folder: Path) -> None:
    rows = [("a.jpg", 'say "hi", twice'), ("c, d.jpg", "line\nbreak"), ("é.png", "plain")]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows])
    records = read_csv(folder / "labels.csv", folder / "images")
    assert {record.key: record.labels[0] for record in records} == dict(rows)


def test_paths_from_the_csv_from_images_dir_absolute_and_from_windows(folder: Path) -> None:
    assert list(read(folder, "path,label\nimages\\a.jpg,x\n")) == ["images/a.jpg"]
    assert list(read(folder, "path,label\n../images/a.jpg,x\n", images_dir=folder / "images")) == ["a.jpg"]
    inside = folder / "images" / "a.jpg"
    assert list(read(folder, f"path,label\n{inside},x\n")) == ["images/a.jpg"]
    assert list(read(folder / "images", f"path,label\n{folder / 'images' / 'a.jpg'},x\n")) == ["a.jpg"]
    (folder / "other").mkdir()
    assert list(read(folder, f"path,label\n{inside},x\n", images_dir=folder / "other")) == [inside.as_posix()]


def test_a_relative_csv_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "images")
    table(folder / "images", "path,label\na.jpg,x\n")
    (record,) = read_csv("labels.csv")
    assert record.key == "a.jpg"
    assert record.path.is_file()


def test_several_labels_in_a_cell_or_as_columns(folder: Path) -> None:
    expected = {"images/a.jpg": ("sun", "sea"), "images/b.jpg": (), "images/é.png": ("sea",)}
    in_a_cell = "path,labels\nimages/a.jpg,sun; sea;sun\nimages/b.jpg,\nimages/é.png,sea;\n"
    assert read(folder, in_a_cell, multi_label=True) == expected
    as_columns = (
        "sun,path,sea,split\n1,images/a.jpg,1,train\n0,images/b.jpg,,val\n0.0,images/é.png,True,test\n"
    )
    assert read(folder, as_columns, multi_label=True) == expected


def test_one_column_a_class_for_single_labels(folder: Path) -> None:
    assert read(folder, "image,x,y\nimages/a.jpg,1,0\nimages/b.jpg,0,1\n") == {
        "images/a.jpg": ("x",),
        "images/b.jpg": ("y",),
    }
    with pytest.raises(DatasetError, match=r"line 2: 2 labels \(x;y\)"):
        read(folder, "image,x,y\nimages/a.jpg,1,1\n")
    with pytest.raises(DatasetError, match="line 3: column 'y' holds '7'"):
        read(folder, "image,x,y\nimages/a.jpg,1,0\nimages/b.jpg,0,7\n")


def test_an_image_that_is_listed_twice(folder: Path) -> None:
    twice = "path,label\nimages/a.jpg,x\nimages/../images/a.jpg,{}\nimages/b.jpg,y\n"
    assert read(folder, twice.format("x")) == {"images/a.jpg": ("x",), "images/b.jpg": ("y",)}
    with pytest.raises(DatasetError, match=r"line 3: .* is labelled 'y', and 'x' on line 2"):
        read(folder, twice.format("y"))
    assert read(folder, twice.format("y"), multi_label=True)["images/a.jpg"] == ("x", "y")


def test_groups_and_splits(folder: Path) -> None:
    text = "path,label,group,Patient,split\nimages/a.jpg,x,g1,7,train\nimages/b.jpg,y,,8,Validation\n"
    assert [record.group for record in read_csv(table(folder, text))] == ["g1", ""]
    assert [record.key for record in read_csv(table(folder, text), split="val")] == ["images/b.jpg"]
    assert peek_csv(table(folder, text)).splits == ("train", "val")
    with pytest.raises(DatasetError, match="no images are listed for the split test"):
        read_csv(table(folder, text), split="test")
    with pytest.raises(DatasetError, match="line 2: split 'tset' is not train, val or test"):
        read_csv(table(folder, "path,label,split\nimages/a.jpg,x,tset\n"))


def test_missing_files_are_listed_up_to_ten(folder: Path) -> None:
    rows = "".join(f"gone{number}.jpg,x\n" for number in range(13))
    with pytest.raises(DatasetError) as caught:
        read_csv(table(folder, "path,label\n" + rows))
    message = str(caught.value)
    assert "labels.csv: 13 files are not there" in message
    assert "line 2: gone0.jpg" in message
    assert "line 11: gone9.jpg" in message
    assert "gone10" not in message
    assert "and 3 more" in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: no column names the image"),
        ("images/a.jpg,cat\n", r"line 1: no column names the image .*path,label"),
        ("path\nimages/a.jpg\n", "line 1: no column for the label"),
        ("path,x,x\nimages/a.jpg,1,0\n", "line 1: two columns have the same name"),
        ("path,label\n", "no images are listed"),
        ("path,label\nimages/a.jpg\n", "line 2: 1 cells for 2 columns"),
        ("path,label\nimages/a.jpg,x,y\n", "line 2: 3 cells for 2 columns"),
        ("path,label\n\n\nimages/a.jpg,\n", "line 4: no label"),
        ("path,label\n,x\n", "line 2: no file is named"),
        ('path,label\nimages/a.jpg,"x\n', "line 2: not valid CSV"),
        ("path,label\nimages/a.jpg,x;y\n", r"line 2: 2 labels \(x;y\); dataset.multi_label=true"),
    ],
)
def test_faults_are_named_with_file_and_line(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint) as caught:
        read_csv(table(folder, text))
    assert "labels.csv" in str(caught.value)


def test_text_in_another_encoding(folder: Path) -> None:
    with pytest.raises(DatasetError, match="line 3: not UTF-8"):
        read_csv(table(folder, "path,label\nimages/a.jpg,x\nimages/é.png,ö\n", "latin-1"))
    with pytest.raises(DatasetError, match=r"absent\.csv: the file cannot be read"):
        read_csv(folder / "absent.csv")


@pytest.mark.parametrize("mark", [";", "|", ",", ", ", " | "])
def test_several_labels_are_told_apart_by_the_usual_marks(folder: Path, mark: str) -> None:
    text = f'path,labels\nimages/a.jpg,"cat{mark}dog"\nimages/b.jpg,dog\nimages/é.png,"owl{mark}cat"\n'
    labels = read(folder, text, multi_label=True)
    assert labels == {
        "images/a.jpg": ("cat", "dog"),
        "images/b.jpg": ("dog",),
        "images/é.png": ("owl", "cat"),
    }
    with pytest.raises(DatasetError, match=r"2 labels \(cat;dog\); dataset\.multi_label=true allows several"):
        read(folder, text)


def test_a_comma_within_names_stays(folder: Path) -> None:
    text = 'path,labels\nimages/a.jpg,"Smith, John"\nimages/b.jpg,"Doe, Jane"\nimages/é.png,"Smith, John"\n'
    assert read(folder, text)["images/a.jpg"] == ("Smith, John",)
    # Given, the marks are those alone.
    text = "path,labels\nimages/a.jpg,x|y\nimages/b.jpg,x\n"
    assert read(folder, text, separators="") == {"images/a.jpg": ("x|y",), "images/b.jpg": ("x",)}
