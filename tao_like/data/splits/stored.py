"""A split as plain data, to be kept in a bundle, and its files found again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_like.data.images.files import content_sha1, find_images, first_of
from tao_like.data.images.sample import ImageRecord
from tao_like.data.splits.division import SPLITS
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.shards import file_exists

Entry = dict[str, Any]


@dataclass(frozen=True)
class FoundSplit:
    """A stored split whose files were found again.

    Attributes:
        records: The images of each split that was asked for, in the stored order.
        moved: Stored name and present path of each file that was found elsewhere by its content.
        changed: Stored names of files that are where they were, with other content.
    """

    records: dict[str, list[ImageRecord]]
    moved: tuple[tuple[str, str], ...]
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


def split_to_dict(
    records: Mapping[str, Iterable[ImageRecord]], roots: Mapping[str, Sequence[Path]] | None = None
) -> dict[str, list[Entry]]:
    """The split as JSON-ready data: for each image ``file``, ``sha1``, ``labels``, and ``group``, if any.

    Args:
        records: The images of each split.
        roots: For each split the folders that names are relative to. Where there are several, a record also
            has the number of its own as ``source``, since two folders may hold files of one name.

    Raises:
        DatasetError: A file cannot be read.
    """
    folders = roots or {}
    return {
        name: [_entry(record, folders.get(name, ())) for record in part] for name, part in records.items()
    }


def split_from_dict(
    stored: Mapping[str, Any], roots: Path | str | Sequence[Path | str], *, splits: Sequence[str] = SPLITS
) -> FoundSplit:
    """Finds the files of a stored split again: by name below the folders, else by content.

    Where several folders hold a file of the name, the content decides, then the number of the source.

    Args:
        stored: What ``split_to_dict`` gave, of this release or one that stored no source.
        roots: Folder or folders that names are relative to, in the order of the sources.
        splits: Which splits to look for; files of the others are not touched.

    Raises:
        DatasetError: The stored data is damaged, files are not to be found, or several could be meant by a
            name and none has the stored content; it lists them.
    """
    folders = [Path(root) for root in ([roots] if isinstance(roots, str | Path) else roots)]
    entries = {name: [_checked(entry) for entry in _part(stored, name)] for name in splits if name in stored}
    flat = [entry for part in entries.values() for entry in part]
    search = _Search(folders, _contents_by_name(stored))
    paths = search.by_name(flat)
    if search.ambiguous:
        raise DatasetError(
            f"{len(search.ambiguous)} files of the stored split have changed, and several folders of the "
            f"data hold a file of their name:\n{first_of(search.ambiguous)}\n"
            "Give the files as they were when the model was trained, or test data of your own."
        )
    moved = search.by_content([number for number, path in enumerate(paths) if path is None], flat)
    missing = [
        entry["file"] for number, entry in enumerate(flat) if not paths[number] and number not in moved
    ]
    if missing:
        raise DatasetError(
            f"{len(missing)} files of the stored split are not below {', '.join(map(str, folders))}, under "
            f"their name or another:\n{first_of(missing)}\n"
            "Give the folder that the model was trained from, or test data of your own."
        )
    located = iter([path or moved[number] for number, path in enumerate(paths)])
    records = {name: [_record(entry, next(located)) for entry in part] for name, part in entries.items()}
    told = tuple((flat[number]["file"], str(path)) for number, path in moved.items())
    return FoundSplit(records, told, tuple(search.changed))


class _Search:
    """Where the files of stored records are.

    Args:
        folders: that names are relative to.
        contents: For each name, the stored contents of all files of this name.
    """

    def __init__(self, folders: Sequence[Path], contents: Mapping[str, set[str]]) -> None:
        resolved = [folder.resolve() for folder in folders]
        # Two sources may have one folder: the first stands for both.
        self.first_of_folder = [resolved.index(folder) for folder in resolved]
        self.folders = {number: folders[number] for number in self.first_of_folder}
        self.contents = contents
        self.taken: Counter[Path] = Counter()
        self.changed: list[str] = []
        self.ambiguous: list[str] = []

    def by_name(self, entries: Sequence[Entry]) -> list[Path | None]:
        """The file of each record below one of the folders; None: there is none of this name."""
        return [self._named(entry) for entry in entries]

    def _named(self, entry: Entry) -> Path | None:
        file = entry["file"]
        there: dict[Path, int] = {}
        for number, folder in self.folders.items():
            if file_exists(folder / file):
                there.setdefault(folder / file, number)
        contents = {path: content_sha1(path) for path in there}
        source = entry.get("source", -1)
        own = self.first_of_folder[source] if 0 <= source < len(self.first_of_folder) else -1
        same = [path for path in there if contents[path] == entry["sha1"]]
        if same:
            # Copies in two folders are two records: each gets a file of its own.
            chosen = min(same, key=lambda path: (self.taken[path], there[path] != own))
            self.taken[chosen] += 1
            return chosen
        # A file that is another record's, as its content tells, is not this one changed.
        free = [path for path in there if contents[path] not in self.contents[file]]
        if len(free) > 1:
            free = [path for path in free if there[path] == own]
            if not free:
                self.ambiguous.append(", ".join(map(str, there)))
        if not free:
            return None
        self.changed.append(file)
        return free[0]

    def by_content(self, lost: Sequence[int], entries: Sequence[Entry]) -> dict[int, Path]:
        """Where the files of lost records are now, by their numbers. Files of the same name go first."""
        if not lost:
            return {}
        names = {Path(entries[number]["file"]).name for number in lost}
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for number in lost:
            wanted[entries[number]["sha1"]].append(number)
        copies: defaultdict[str, list[Path]] = defaultdict(list)
        present = [
            path for folder in self.folders.values() if folder.is_dir() for path in find_images(folder)
        ]
        remaining = len(lost)
        for path in sorted(dict.fromkeys(present), key=lambda path: path.name not in names):
            if not remaining:
                break
            try:
                sha1 = content_sha1(path)
            except OSError:
                continue
            if len(copies[sha1]) < len(wanted.get(sha1, ())) and not self.taken[path]:
                copies[sha1].append(path)
                remaining -= 1
        # Of copies that were stored and of which fewer are left, one stands for the others.
        return {
            number: copies[sha1][min(index, len(copies[sha1]) - 1)]
            for sha1, numbers in wanted.items()
            if copies[sha1]
            for index, number in enumerate(numbers)
        }


def _contents_by_name(stored: Mapping[str, Any]) -> dict[str, set[str]]:
    contents: defaultdict[str, set[str]] = defaultdict(set)
    for name in SPLITS:
        for entry in _part(stored, name) if name in stored else ():
            contents[_checked(entry)["file"]].add(entry["sha1"])
    return contents


def _entry(record: ImageRecord, folders: Sequence[Path]) -> Entry:
    try:
        sha1 = content_sha1(record.path)
    except OSError as error:
        raise DatasetError(f"{record.path}: the file cannot be read ({error.strerror})") from error
    entry: Entry = {"file": record.name, "sha1": sha1, "labels": list(record.labels)}
    if record.group:
        entry["group"] = record.group
    if len(folders) > 1:
        own = (number for number, folder in enumerate(folders) if folder / record.name == record.path)
        if (number := next(own, None)) is not None:
            entry["source"] = number
    return entry


def _record(entry: Mapping[str, Any], path: Path) -> ImageRecord:
    return ImageRecord(path, tuple(entry["labels"]), entry.get("group", ""), entry["file"])


def _part(stored: Mapping[str, Any], name: str) -> list[Any]:
    part = stored[name]
    if not isinstance(part, list):
        raise DatasetError(f"the stored split is damaged: {name} is no list")
    return part


def _checked(entry: Any) -> Entry:
    if (
        not isinstance(entry, dict)
        or not all(isinstance(entry.get(key), str) for key in ("file", "sha1"))
        or not isinstance(entry.get("labels"), list)
        or not all(isinstance(label, str) for label in entry["labels"])
        or not isinstance(entry.get("group", ""), str)
        or not isinstance(entry.get("source", 0), int)
    ):
        raise DatasetError(f"the stored split is damaged: {entry!r:.80} lacks file, sha1 or labels")
    return entry
