"""Reading a folder of class folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tao_like.data.images.class_folders import read_class_folders, scan_class_folders
from tao_like.data.images.readers import class_names
from tao_like.errors import DatasetError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_records_are_sorted_and_keyed_by_their_place(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.PNG", "cat/z.jpg", "cat/nested/deep/a.jpeg", "cat/é ü.webp")
    records = read_class_folders(tmp_path)
    assert [record.key for record in records] == [
        "cat/nested/deep/a.jpeg",
        "cat/z.jpg",
        "cat/é ü.webp",
        "dog/b.PNG",
    ]
    assert [record.labels for record in records] == [("cat",)] * 3 + [("dog",)]
    assert all(record.path == tmp_path / record.key for record in records)


def test_a_relative_folder_gives_the_same_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "data/a/1.jpg", "data/b/1.jpg")
    monkeypatch.chdir(tmp_path)
    for name in ("data", "./data/", "data/../data"):
        assert [record.key for record in read_class_folders(name)] == ["a/1.jpg", "b/1.jpg"]
    monkeypatch.chdir(tmp_path / "data")
    assert [record.key for record in read_class_folders(".")] == ["a/1.jpg", "b/1.jpg"]


def test_hidden_and_system_files_are_left_out_and_others_counted(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a/1.jpg",
        "b/1.jpg",
        "a/.hidden.jpg",
        ".git/x.jpg",
        "__MACOSX/a/1.jpg",
        "a/notes.txt",
        "README",
    )
    scan = scan_class_folders(tmp_path)
    assert [record.key for record in scan.records] == ["a/1.jpg", "b/1.jpg"]
    assert scan.ignored == {".txt": 1, "": 1}


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.jpg", "data/a/1.jpg", "data/b/1.jpg")
    (tmp_path / "data/a/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/a/up").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/b/round").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/b/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    keys = [record.key for record in read_class_folders(tmp_path / "data")]
    assert keys == [
        "a/1.jpg",
        "a/linked/1.jpg",
        "b/1.jpg",
        "b/gone.jpg",  # listed, so that a check can name it
        "b/round/1.jpg",
        "b/round/linked/1.jpg",
    ]


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    touch(tmp_path, "caf\u00e9/1.jpg", "cafe\u0301/2.jpg", "tea/1.jpg")
    assert class_names(read_class_folders(tmp_path)) == ["caf\u00e9", "tea"]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ([], "no images below"),
        (["a/1.txt", "b/2.txt"], r"other files: 2 \.txt"),
        (["1.jpg", "2.jpg"], "2 images but no class folders"),
        (["a/1.jpg"], "one class folder, 'a'"),
        (["a/1.jpg", "b/1.jpg", "c/readme.txt"], "no images in the class folder 'c'"),
        (["train/a/1.jpg", "val/a/1.jpg"], "are splits, not classes"),
    ],
)
def test_what_cannot_be_trained_on(tmp_path: Path, files: list[str], complaint: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DatasetError, match=complaint) as caught:
        read_class_folders(tmp_path, key="dataset.train_dataset.images_dir")
    assert str(caught.value).startswith("dataset.train_dataset.images_dir: ")


def test_other_data_than_training_data_may_lack_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/readme.txt")
    assert len(read_class_folders(tmp_path, training=False)) == 1


def test_a_file_or_nothing_in_place_of_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "labels.csv")
    with pytest.raises(DatasetError, match=r"is a file.*given as dataset\.train_dataset\.csv_file"):
        read_class_folders(tmp_path / "labels.csv", key="dataset.train_dataset.images_dir")
    with pytest.raises(DatasetError, match="there is no folder"):
        read_class_folders(tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(DatasetError, match="cannot be read"):
            read_class_folders(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o755)


def test_class_names_are_sorted_or_in_the_order_of_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.jpg", "a/1.jpg", "C/1.jpg")
    records = read_class_folders(tmp_path)
    assert class_names(records) == ["C", "a", "b"]
    file = tmp_path / "classes.txt"
    file.write_bytes("\ufeffb\r\nspare\r\n\r\nC\r\na".encode())
    assert class_names(records, file) == ["b", "spare", "C", "a"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a\nc\n", r"1 classes of the data are not in it:\n  'b'"),
        ("a\nbb\n", r"'b' \(the file has 'bb'\)"),
        ("a\nb\na\n", "line 3: 'a' is also on line 1"),
        ("\n\n", "it is empty"),
    ],
)
def test_a_wrong_classes_file_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    records = read_class_folders(touch(tmp_path / "data", "a/1.jpg", "b/1.jpg"))
    file = tmp_path / "classes.txt"
    file.write_text(text)
    with pytest.raises(DatasetError, match=complaint) as caught:
        class_names(records, file)
    assert str(file) in str(caught.value)
