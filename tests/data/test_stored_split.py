"""A split kept as plain data."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tao_like.data.images.readers import ImageRecord, read_class_folders
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
    assert found.moved == {"b/1.jpg": str(root / "a/renamed.jpg"), "b/2.jpg": str(root / "b/sub/2.jpg")}
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
