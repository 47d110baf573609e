"""A split kept as plain data."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tao_like.data.images.class_folders import read_class_folders
from tao_like.data.images.sample import ImageRecord
from tao_like.data.splits.stored import split_from_dict, split_to_dict
from tao_like.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "data" / label / f"{i}.jpg").write_text(f"{label}{i}")
    return tmp_path / "data"


def divided(root: Path) -> dict[str, list[ImageRecord]]:
    records = read_class_folders(root)
    return {"train": records[:4], "val": [], "test": records[4:]}


def stored(root: Path) -> dict[str, Any]:
    return json.loads(json.dumps(split_to_dict(divided(root))))


def test_it_holds_names_hashes_and_labels(root: Path) -> None:
    entry = {"file": "a/0.jpg", "sha1": hashlib.sha1(b"a0").hexdigest(), "labels": ["a"]}
    assert stored(root)["train"][0] == entry
    grouped = {"train": [ImageRecord(root / "a/0.jpg", ("a",), "g", "a/0.jpg")]}
    assert split_to_dict(grouped)["train"] == [{**entry, "group": "g"}]


def test_the_same_files_come_back(root: Path) -> None:
    found = split_from_dict(stored(root), root)
    assert found.records == divided(root)
    assert found.notes() == []


def test_a_folder_that_moved_as_a_whole_is_no_news(root: Path, tmp_path: Path) -> None:
    kept = stored(root)
    shutil.move(root, tmp_path / "elsewhere")
    found = split_from_dict(kept, [tmp_path / "empty", tmp_path / "elsewhere"], splits=["test"])
    assert [str(record.path) for record in found.records["test"]] == [
        str(tmp_path / "elsewhere" / "b" / f"{i}.jpg") for i in (1, 2)
    ]
    assert list(found.records) == ["test"]
    assert found.notes() == []


def test_renamed_files_are_found_by_their_content(root: Path) -> None:
    kept = stored(root)
    (root / "b/1.jpg").rename(root / "a/renamed.jpg")
    (root / "b" / "sub").mkdir()
    (root / "b/2.jpg").rename(root / "b/sub/2.jpg")
    found = split_from_dict(kept, root)
    assert found.moved == (
        ("b/1.jpg", str(root / "a/renamed.jpg")),
        ("b/2.jpg", str(root / "b/sub/2.jpg")),
    )
    assert [record.labels for record in found.records["test"]] == [("b",), ("b",)]
    assert [record.key for record in found.records["test"]] == ["b/1.jpg", "b/2.jpg"]
    assert "2 files of the stored split have moved" in found.notes()[0]


def test_files_that_are_gone_are_an_error_and_changed_ones_a_note(root: Path) -> None:
    kept = stored(root)
    (root / "b/1.jpg").write_text("something else")
    assert split_from_dict(kept, root).changed == ("b/1.jpg",)
    (root / "b/2.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 files of the stored split are not below .*\n  b/2\.jpg"):
        split_from_dict(kept, root)
    # Nobody asked for the test files here.
    assert len(split_from_dict(kept, root, splits=["train"]).records["train"]) == 4


@pytest.mark.parametrize(
    "damaged",
    [
        {"test": "a/0.jpg"},
        {"test": ["a/0.jpg"]},
        {"test": [{"file": "a/0.jpg", "labels": ["a"]}]},
        {"test": [{"file": "a/0.jpg", "sha1": "0", "labels": "a"}]},
        {"test": [{"file": 3, "sha1": "0", "labels": []}]},
    ],
)
def test_damaged_data_is_refused(root: Path, damaged: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match="the stored split is damaged"):
        split_from_dict(damaged, root)


def test_a_file_that_vanished_before_it_was_stored(root: Path) -> None:
    records = divided(root)
    (root / "a/0.jpg").unlink()
    with pytest.raises(DatasetError, match=r"a/0\.jpg: the file cannot be read"):
        split_to_dict(records)


def cameras(folder: Path) -> list[Path]:
    """Four cameras whose files bear the same names, 0000.png to 0011.png, each with a content of its own."""
    roots = [folder / f"camera{number}" for number in range(4)]
    for root in roots:
        root.mkdir(parents=True)
        for number in range(12):
            (root / f"{number:04d}.png").write_text(f"{root.name} {number}")
    return roots


def camera_split(roots: list[Path]) -> dict[str, list[ImageRecord]]:
    records = [
        ImageRecord(path, (root.name,), "", path.name) for root in roots for path in sorted(root.iterdir())
    ]
    records.sort(key=lambda record: (record.name, record.path))
    return {"train": records[:38], "val": records[38:], "test": []}


@pytest.mark.parametrize("with_source", [True, False])
def test_files_of_one_name_in_several_folders_come_back_each_as_itself(
    tmp_path: Path, with_source: bool
) -> None:
    roots = cameras(tmp_path)
    split = camera_split(roots)
    kept = json.loads(json.dumps(split_to_dict(split, dict.fromkeys(split, roots) if with_source else None)))
    assert [entry.get("source") for entry in kept["train"][:4]] == (
        [0, 1, 2, 3] if with_source else [None] * 4
    )
    found = split_from_dict(kept, roots)
    assert found.records == split
    assert len({record.path for part in found.records.values() for record in part}) == 48
    assert found.notes() == []
    # The sources may be named in another order, and the folders may lie elsewhere.
    assert split_from_dict(kept, roots[::-1]).records == split
    shutil.move(tmp_path / "camera2", tmp_path / "else")
    again = split_from_dict(kept, [*roots[:2], tmp_path / "else", roots[3]]).records["train"]
    assert [record.path.parent.name for record in again[:4]] == ["camera0", "camera1", "else", "camera3"]


def test_copies_in_two_folders_are_two_files(tmp_path: Path) -> None:
    roots = cameras(tmp_path)
    for root in roots:
        (root / "0000.png").write_text("the same")
    split = camera_split(roots)
    for roots_stored in (None, dict.fromkeys(split, roots)):
        assert split_from_dict(split_to_dict(split, roots_stored), roots).records == split


def test_a_changed_file_of_a_name_that_others_bear(tmp_path: Path) -> None:
    roots = cameras(tmp_path)
    split = camera_split(roots)
    kept, old = split_to_dict(split, dict.fromkeys(split, roots)), split_to_dict(split)
    (roots[1] / "0000.png").write_text("edited")
    # The contents of the other three are stored too, so it can only be this one.
    found = split_from_dict(kept, roots)
    assert found.records == split
    assert found.changed == ("0000.png",)
    for root in roots:
        (root / "0000.png").write_text(f"edited {root.name}")
    assert split_from_dict(kept, roots).records == split
    with pytest.raises(DatasetError, match=r"4 files of the stored split have changed, and several folders"):
        split_from_dict(old, roots)


def test_files_of_one_name_that_moved_are_all_told(tmp_path: Path) -> None:
    roots = cameras(tmp_path)
    split = camera_split(roots)
    kept = split_to_dict(split, dict.fromkeys(split, roots))
    for root in roots[:2]:
        (root / "sub").mkdir()
        (root / "0003.png").rename(root / "sub" / "0003.png")
    found = split_from_dict(kept, roots)
    assert "2 files of the stored split have moved" in found.notes()[0]
    assert {record.path for record in found.records["train"] if record.path.parent.name == "sub"} == {
        root / "sub" / "0003.png" for root in roots[:2]
    }
