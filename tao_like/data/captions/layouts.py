"""Where in a folder images with captions lie: lists or folders of splits, or all together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tao_like.data.captions.reading import LIST_SUFFIXES, CaptionSource, has_text_files, lists_pairs
from tao_like.data.images.files import find_images, listing, split_name, suffix
from tao_like.errors import DatasetError

SPLITS = ("train", "val", "test")


def find_caption_sources(location: Path, key_of: Callable[[str], str]) -> dict[str, CaptionSource]:
    """The source of each split that there is, ``train`` at least.

    Splits are lists or folders with the usual names (``train``, ``valid``, ``validation``, ...). A folder's
    only list of images and captions stands for it, unless text files lie beside its images.

    Args:
        location: a folder, or a list.
        key_of: gives what messages call the source of a split.

    Raises:
        DatasetError: there is no such folder or list, or it cannot be read.
    """
    if location.is_file():
        return {"train": CaptionSource(key_of("train"), None, location)}
    if not location.is_dir():
        raise DatasetError(f"there is no folder or list {location}; give images with captions")
    found: dict[str, tuple[Path | None, Path | None]] = {}
    # A list counts before a folder of the same split.
    for split, path in [*_split_lists(location), *_split_folders(location)]:
        found.setdefault(split, (None, path) if path.is_file() else _of_folder(path))
    if "train" not in found:
        found = {"train": _of_folder(location)}
    return {
        split: CaptionSource(key_of(split), *found[split], training=split == "train")
        for split in SPLITS
        if split in found
    }


def _split_lists(folder: Path) -> list[tuple[str, Path]]:
    """Lists that are named as splits, of several for one split in the order of their suffixes."""
    named = [(split_name(path.stem), path) for path in _lists(folder)]
    return [(split, path) for split, path in named if split]


def _split_folders(folder: Path) -> list[tuple[str, Path]]:
    entries = [entry for entry in listing(folder) if entry.is_dir()]
    return [(split, Path(entry.path)) for entry in entries if (split := split_name(entry.name))]


def _lists(folder: Path) -> list[Path]:
    paths = [Path(entry.path) for entry in listing(folder) if entry.is_file()]
    known = [path for path in paths if suffix(path.name) in LIST_SUFFIXES]
    return sorted(known, key=lambda path: LIST_SUFFIXES.index(suffix(path.name)))


def _of_folder(folder: Path) -> tuple[Path | None, Path | None]:
    """A folder's images, or its list."""
    lists = [path for path in _lists(folder) if lists_pairs(path)]
    return (None, lists[0]) if len(lists) == 1 and not has_text_files(find_images(folder)) else (folder, None)
