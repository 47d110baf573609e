"""A split as plain data, to be kept in a bundle, and its files found again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_like.data.images.files import content_sha1, find_images, first_of
from tao_like.data.images.sample import ImageRecord
from tao_like.data.splits.division import SPLITS
from tao_like.errors import DatasetError


@dataclass(frozen=True)
class FoundSplit:
    """A stored split whose files were found again.

    Attributes:
        records: The pictures of each split that was asked for, in the stored order.
        moved: Stored name and present path of files that were found elsewhere by their content.
        changed: Stored names of files that are in their place with other content.
    """

    records: dict[str, list[ImageRecord]]
    moved: dict[str, str]
    changed: tuple[str, ...]

    def notes(self) -> list[str]:
        """What a user should know, in sentences; empty when all is as it was."""
        notes = []
        if self.moved:
            notes.append(f"{len(self.moved)} files of the stored split have moved; their content told them")
        if self.changed:
            notes.append(
                f"{len(self.changed)} files of the stored split have changed since they were trained on:\n"
                + first_of(self.changed)
            )
        return notes


def split_to_dict(records: Mapping[str, Iterable[ImageRecord]]) -> dict[str, list[dict[str, Any]]]:
    """The split as JSON-ready data: for each picture ``file``, ``sha1``, ``labels`` and ``group``, if any.

    Raises:
        DatasetError: A file cannot be read.
    """
    return {name: [_entry(record) for record in part] for name, part in records.items()}


def split_from_dict(
    stored: Mapping[str, Any], roots: Path | str | Sequence[Path | str], *, splits: Sequence[str] = SPLITS
) -> FoundSplit:
    """Finds the files of a stored split again: by name below one of the folders, else by content.

    Args:
        stored: What ``split_to_dict`` gave.
        roots: Folder or folders that names are relative to, tried in turn.
        splits: Which splits to look for; files of the others are not touched.

    Raises:
        DatasetError: The stored data is damaged, or files are not to be found; it lists them.
    """
    folders = [Path(root) for root in ([roots] if isinstance(roots, str | Path) else roots)]
    entries = {name: [_checked(entry) for entry in _part(stored, name)] for name in splits if name in stored}
    paths: dict[str, Path] = {}
    changed: list[str] = []
    lost: dict[str, str] = {}
    for entry in (entry for part in entries.values() for entry in part):
        file, sha1 = entry["file"], entry["sha1"]
        there = [folder / file for folder in folders if (folder / file).is_file()]
        same = [path for path in there if content_sha1(path) == sha1]
        if same or there:
            paths[file] = (same or there)[0]
        if there and not same:
            changed.append(file)
        if not there:
            lost[file] = sha1
    moved = _search(lost, folders)
    missing = [file for file in lost if file not in moved]
    if missing:
        raise DatasetError(
            f"{len(missing)} files of the stored split are not below {', '.join(map(str, folders))}, under "
            f"their name or another:\n{first_of(missing)}\n"
            "Give the folder that the model was trained from, or test data of your own."
        )
    paths |= moved
    records = {
        name: [_record(entry, paths[entry["file"]]) for entry in part] for name, part in entries.items()
    }
    return FoundSplit(records, {file: str(path) for file, path in moved.items()}, tuple(changed))


def _entry(record: ImageRecord) -> dict[str, Any]:
    try:
        sha1 = content_sha1(record.path)
    except OSError as error:
        raise DatasetError(f"{record.path}: the file cannot be read ({error.strerror})") from error
    entry: dict[str, Any] = {"file": record.name, "sha1": sha1, "labels": list(record.labels)}
    if record.group:
        entry["group"] = record.group
    return entry


def _record(entry: Mapping[str, Any], path: Path) -> ImageRecord:
    return ImageRecord(path, tuple(entry["labels"]), entry.get("group", ""), entry["file"])


def _part(stored: Mapping[str, Any], name: str) -> list[Any]:
    part = stored[name]
    if not isinstance(part, list):
        raise DatasetError(f"the stored split is damaged: {name} is no list")
    return part


def _checked(entry: Any) -> dict[str, Any]:
    if (
        not isinstance(entry, dict)
        or not all(isinstance(entry.get(key), str) for key in ("file", "sha1"))
        or not isinstance(entry.get("labels"), list)
        or not all(isinstance(label, str) for label in entry["labels"])
        or not isinstance(entry.get("group", ""), str)
    ):
        raise DatasetError(f"the stored split is damaged: {entry!r:.80} lacks file, sha1 or labels")
    return entry


def _search(lost: Mapping[str, str], folders: Iterable[Path]) -> dict[str, Path]:
    """Where lost files are now, by content. Files of the same name go first: mostly they are the ones."""
    if not lost:
        return {}
    present = [path for folder in folders if folder.is_dir() for path in find_images(folder)]
    names = {Path(file).name for file in lost}
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for file, sha1 in lost.items():
        wanted[sha1].append(file)
    found: dict[str, Path] = {}
    for path in sorted(present, key=lambda path: path.name not in names):
        if len(found) == len(lost):
            break
        try:
            sha1 = content_sha1(path)
        except OSError:
            continue
        for file in wanted.pop(sha1, ()):
            found[file] = path
    return found
