"""A look at somebody's images: how they are laid out, how many there are, how large."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tao_like.data.images.class_folders import ClassFolders, scan_class_folders
from tao_like.data.images.csv_lists import label_separators, peek_csv, read_csv
from tao_like.data.images.files import (
    Header,
    check_is_folder,
    find_images,
    listing,
    passed_over_notes,
    read_header,
    split_name,
    suffix,
)
from tao_like.data.images.sample import ImageRecord
from tao_like.data.splits.surveyed import UNSPLIT, SurveyedSplits
from tao_like.errors import DatasetError

LAYOUTS = """\
What is understood:
  class folders          split folders          a CSV file with the columns
    cats/                  train/               path and label
      001.jpg                cats/001.jpg         labels.csv
      002.jpg                dogs/001.jpg         images/
    dogs/                  val/                     001.jpg
      001.jpg                cats/002.jpg           002.jpg
                             dogs/002.jpg"""

_MOST_HEADERS = 500
_MOST_WRAPPERS = 3
_MOST_NAMED = 10
# With fewer images of several or no labels than this fraction, those are taken for mistakes.
_MULTI_LABEL_FRACTION = 0.05


@dataclass(frozen=True)
class Source:
    """Where the images of a split come from: class folders, or a CSV file and what its paths start from."""

    images_dir: Path | None = None
    csv_file: Path | None = None


@dataclass(frozen=True)
class Survey(SurveyedSplits):
    """What a look at a folder gave. A ``spread`` is the 5th percentile, median and 95th percentile.

    Attributes:
        layout: How labels are given, and whether splits are.
        sources: For each split where to read it; the one name ``all`` for data that is not split.
        counts: For each split the images of each class.
        images: For each split the number of images.
        classes: Sorted names of the classes of the training data.
        multi_label: Whether images have several labels, or none.
        has_groups: Whether a CSV says which images belong together.
        width: Spread of the upright widths in pixels, of at most 500 images.
        height: Spread of the upright heights in pixels.
        longest_ratio: 95th percentile of the longer side over the shorter.
        grey_fraction: Fraction of files that store no color, 0 to 1.
        notes: What a user should know, in sentences.
    """

    layout: Literal["class_folders", "split_folders", "csv"]
    sources: dict[str, Source]
    counts: dict[str, dict[str, int]]
    images: dict[str, int]
    classes: tuple[str, ...]
    multi_label: bool
    has_groups: bool
    width: tuple[int, int, int]
    height: tuple[int, int, int]
    longest_ratio: float
    grey_fraction: float
    notes: tuple[str, ...] = ()


def survey_images(folder: Path | str) -> Survey:
    """Finds out how images are laid out and what they are like.

    Class folders and split folders are recognised also below a folder that holds nothing else. Of the files,
    at most 500 are opened, and only their heads are read.

    Args:
        folder: The folder, or a CSV file.

    Raises:
        DatasetError: There is no layout that is understood; the message shows those that are.
    """
    folder = Path(folder)
    if suffix(folder.name) in (".csv", ".tsv") and folder.is_file():
        return _survey_csv({UNSPLIT: folder}, folder.parent)
    check_is_folder(folder, "the images")
    return _survey_folder(folder, _MOST_WRAPPERS)


def _survey_folder(folder: Path, wrappers: int) -> Survey:
    entries = listing(folder)
    folders = [Path(entry.path) for entry in entries if entry.is_dir()]
    csv_files = [Path(entry.path) for entry in entries if suffix(entry.name) in (".csv", ".tsv")]
    by_split = {name: path for path in folders if (name := split_name(path.name))}
    if "train" in by_split:
        found = {name: scan_class_folders(path) for name, path in by_split.items()}
        if _class_count(found["train"]) > 1:
            return _survey_class_folders("split_folders", found, csv_files)
    if not by_split:
        found = {UNSPLIT: scan_class_folders(folder)}
        if _class_count(found[UNSPLIT]) > 1:
            return _survey_class_folders("class_folders", found, csv_files)
    if csv_files:
        return _survey_csv(_chosen_csv(csv_files), folder)
    if len(folders) == 1 and wrappers and any(entry.is_dir() for entry in listing(folders[0])):
        return _survey_folder(folders[0], wrappers - 1)
    raise DatasetError(f"{folder}: {_what_is_there(folder)}\n{LAYOUTS}")


def _what_is_there(folder: Path) -> str:
    ignored: Counter[str] = Counter()
    folders = Counter(path.parent for path in find_images(folder, ignored))
    if not folders:
        return f"there are no images ({sum(ignored.values())} other files)"
    images = sum(folders.values())
    if len(folders) == 1 and (only := next(iter(folders))) != folder:
        return (
            f"all {images} images are of one class, {only.name}; a classifier tells classes apart, so put "
            "images of something else into another folder beside it"
        )
    if len(folders) == 1:
        return f"there are {images} images in one folder, and nothing says what they show"
    return f"there are {images} images in {len(folders)} folders, but not in two or more class folders"


def _class_count(found: ClassFolders) -> int:
    return len({record.labels for record in found.records})


def _survey_class_folders(
    layout: Literal["class_folders", "split_folders"],
    found: dict[str, ClassFolders],
    csv_files: Sequence[Path],
) -> Survey:
    notes = []
    records: dict[str, list[ImageRecord]] = {}
    for name, scan in found.items():
        if scan.loose_images:
            notes.append(f"{scan.loose_images} images in {scan.root} lie in no class folder and are not used")
        for message, files in passed_over_notes(scan.passed_over):
            notes.append(f"{message}: {', '.join(path.name for path in files[:_MOST_NAMED])}")
        if scan.empty_classes:
            notes.append(f"class folders without images in {scan.root}: {', '.join(scan.empty_classes)}")
        if scan.records:
            records[name] = list(scan.records)
    if csv_files:
        notes.append(f"{csv_files[0]} is not used, as there are class folders; name it to use it instead")
    sources = {name: Source(images_dir=found[name].root) for name in records}
    return _described(layout, sources, records, False, notes)


def _chosen_csv(csv_files: Sequence[Path]) -> dict[str, Path]:
    """CSV files by split, where their names say so; else the only one."""
    by_split: dict[str, Path] = {}
    for path in csv_files:
        name = next(filter(None, map(split_name, re.split(r"[^a-z]+", path.stem.lower()))), None)
        if name:
            by_split.setdefault(name, path)
    if "train" in by_split:
        return by_split
    if len(csv_files) == 1:
        return {UNSPLIT: csv_files[0]}
    named = ", ".join(path.name for path in csv_files[:10])
    raise DatasetError(
        f"{csv_files[0].parent} holds several CSV files ({named}); name the one with the labels"
    )


def _survey_csv(csv_files: dict[str, Path], folder: Path) -> Survey:
    main = csv_files.get("train") or csv_files[UNSPLIT]
    peek = peek_csv(main)
    if UNSPLIT in csv_files and "train" in peek.splits:
        csv_files = dict.fromkeys(peek.splits, main)
    multi_label = _is_multi_label(main, _images_dir(main, folder))
    separators = label_separators(main)
    notes: list[str] = []
    sources: dict[str, Source] = {}
    records: dict[str, list[ImageRecord]] = {}
    for name, path in csv_files.items():
        try:
            images_dir = _images_dir(path, folder)
            records[name] = read_csv(
                path, images_dir, multi_label=multi_label, split=name, separators=separators
            )
        except DatasetError as error:
            if path == main:
                raise
            notes.append(f"{path} is not used: {error}")
            continue
        sources[name] = Source(images_dir if images_dir != path.parent else None, path)
    return _described("csv", sources, records, multi_label, notes, has_groups=peek.has_groups)


def _images_dir(csv_file: Path, folder: Path) -> Path:
    """The folder that the CSV's paths start from: its own, the surveyed one, or one directly below these."""
    files = peek_csv(csv_file).files
    locations = dict.fromkeys((csv_file.parent, folder))
    below = [Path(entry.path) for location in locations for entry in listing(location) if entry.is_dir()]
    for location in [*locations, *below]:
        if any((location / file).is_file() for file in files):
            return location
    return csv_file.parent


def _is_multi_label(csv_file: Path, images_dir: Path) -> bool:
    """Whether enough images have several labels, or none, that this can be no mistake."""
    try:
        read_csv(csv_file, images_dir)
    except DatasetError as single_label_error:
        try:
            records = read_csv(csv_file, images_dir, multi_label=True)
        except DatasetError:
            raise single_label_error from None
        unusual = sum(len(record.labels) != 1 for record in records)
        if unusual < _MULTI_LABEL_FRACTION * len(records):
            raise
        return True
    return False


def _described(
    layout: Literal["class_folders", "split_folders", "csv"],
    sources: dict[str, Source],
    records: dict[str, list[ImageRecord]],
    multi_label: bool,
    notes: Sequence[str],
    *,
    has_groups: bool = False,
) -> Survey:
    order = [name for name in (UNSPLIT, "train", "val", "test") if name in records]
    counts = {name: Counter(label for record in records[name] for label in record.labels) for name in order}
    every = [record for name in order for record in records[name]]
    headers = list(_headers(_sample(every)))
    if not headers:
        raise DatasetError(f"none of the {len(every)} images can be read, the first is {every[0].path}")
    ratios = [max(h.width, h.height) / min(h.width, h.height) for h in headers]
    return Survey(
        layout=layout,
        sources={name: sources[name] for name in order},
        counts={name: dict(sorted(count.items())) for name, count in counts.items()},
        images={name: len(records[name]) for name in order},
        classes=tuple(sorted(counts[order[0]])),
        multi_label=multi_label,
        has_groups=has_groups,
        width=_percentiles([header.width for header in headers]),
        height=_percentiles([header.height for header in headers]),
        longest_ratio=float(np.percentile(ratios, 95)),
        grey_fraction=sum(header.is_grey for header in headers) / len(headers),
        notes=tuple(notes),
    )


def _sample(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """At most 500 images, evenly spread, so that each class has its share."""
    step = max(1, -(-len(records) // _MOST_HEADERS))
    return list(records[::step])


def _headers(records: Iterable[ImageRecord]) -> Iterator[Header]:
    for record in records:
        try:
            yield read_header(record.path)
        except DatasetError:
            # A survey describes what can be read; naming what cannot is the checks' business.
            continue


def _percentiles(values: Sequence[int]) -> tuple[int, int, int]:
    low, middle, high = np.percentile(values, (5, 50, 95), method="nearest")
    return int(low), int(middle), int(high)
