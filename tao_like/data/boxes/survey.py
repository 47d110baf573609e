"""Finding out how a folder of pictures with boxes is laid out, and what its data is like."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tao_like.data.boxes.annotation import BoxRecord
from tao_like.data.boxes.sources import YOLO_NAMES, BoxSource, read_boxes, recognise
from tao_like.data.images.files import find_images, listing, read_header, split_name
from tao_like.errors import DatasetError

UNSPLIT = "all"
LAYOUTS = """\
Layouts that are understood:
  COCO    one JSON file for each split, or for all, beside or above the folders of the pictures
  VOC     JPEGImages and Annotations (XML), perhaps with ImageSets/Main/train.txt, val.txt, test.txt
  KITTI   image_2 and label_2
  YOLO    images and labels, or train/images and train/labels, with classes.txt"""
_PAIRS = (
    ("images", "labels"),
    ("image_2", "label_2"),
    ("JPEGImages", "Annotations"),
    ("images", "annotations"),
)
_MOST_HEADERS = 300
_DEEPEST_JSON = 2


@dataclass(frozen=True)
class BoxSurvey:
    """What a look at a folder gave.

    Attributes:
        format: coco, voc, kitti or yolo.
        sources: for each split where to read it; the one name ``all`` for data that is not split.
        pictures: of each split.
        boxes: of each class in the training data, the most frequent first.
        width: median of the pictures, in pixels.
        height: likewise.
        side: median side of a box as a share of its picture's longer side.
        most_boxes: on one picture.
    """

    format: str
    sources: Mapping[str, BoxSource]
    pictures: Mapping[str, int]
    boxes: Mapping[str, int]
    width: int
    height: int
    side: float
    most_boxes: int

    @property
    def is_split(self) -> bool:
        """Whether the data comes in splits."""
        return UNSPLIT not in self.sources

    @property
    def training_pictures(self) -> int:
        """Pictures of the training split, or all of unsplit data."""
        return self.pictures["train" if self.is_split else UNSPLIT]


def survey_boxes(folder: Path) -> BoxSurvey:
    """Recognises COCO, VOC, KITTI and YOLO data, divided into splits or not.

    Raises:
        DatasetError: there is no layout that is understood; the message shows those that are.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(f"{folder} {what}; give the folder that holds pictures and labels")
    for find in (_coco, _paired, _split_pairs):
        sources = find(folder)
        if "train" in sources or UNSPLIT in sources:
            return _described(sources)
    raise DatasetError(f"{folder}: no labels of boxes were found\n{LAYOUTS}")


def _split_of(text: str) -> str | None:
    """The split that a name such as ``instances_val2017`` tells; None where it tells none."""
    return next(filter(None, map(split_name, re.split(r"[^a-z]+", text.lower()))), None)


def _coco(folder: Path) -> dict[str, BoxSource]:
    found: dict[str, BoxSource] = {}
    for path in _json_files(folder, _DEEPEST_JSON):
        name = _first_file_name(path)
        if name is None:
            continue
        split = _split_of(path.stem) or _split_of(path.parent.name) or UNSPLIT
        image_dir = _image_dir(folder, path, name)
        if image_dir is not None:
            found.setdefault(split, BoxSource(image_dir=image_dir, json_file=path, format="coco"))
    if "train" in found:
        found.pop(UNSPLIT, None)
    return found


def _json_files(folder: Path, depth: int) -> Iterator[Path]:
    entries = listing(folder)
    yield from (Path(entry.path) for entry in entries if entry.name.endswith(".json") and entry.is_file())
    if depth:
        for entry in entries:
            if entry.is_dir():
                yield from _json_files(Path(entry.path), depth - 1)


def _first_file_name(path: Path) -> str | None:
    """The name of the first picture in a COCO file; None for another file, or one without boxes."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return None
    if not isinstance(content, dict) or not content.get("annotations") or not content.get("images"):
        return None
    first = content["images"][0]
    name = first.get("file_name") if isinstance(first, dict) else None
    has_boxes = isinstance(content["annotations"][0], dict) and "bbox" in content["annotations"][0]
    return str(name) if name and has_boxes else None


def _image_dir(folder: Path, json_file: Path, name: str) -> Path | None:
    """The folder that the file names of a COCO file start from."""
    stems = {json_file.stem, json_file.stem.removeprefix("instances_")}
    bases = [place for place in (json_file.parent, folder, folder / "images") if place.is_dir()]
    candidates = [*bases, *(base / stem for base in bases for stem in sorted(stems))]
    for base in bases:
        candidates += [Path(entry.path) for entry in listing(base) if entry.is_dir()]
    wanted = _split_of(json_file.stem)
    candidates.sort(key=lambda place: wanted is None or _split_of(place.name) != wanted)
    return next((place for place in candidates if (place / name).is_file()), None)


def _paired(folder: Path) -> dict[str, BoxSource]:
    """A folder of pictures beside one of labels; split by lists, or by folders of that name inside."""
    for images, labels in _PAIRS:
        image_dir, label_dir = folder / images, folder / labels
        if not (image_dir.is_dir() and label_dir.is_dir()):
            continue
        source = BoxSource(image_dir=image_dir, label_dir=label_dir)
        lists = folder / "ImageSets" / "Main"
        named = {name: lists / f"{name}.txt" for name in ("train", "val", "test")}
        listed = {name: replace(source, list_file=path) for name, path in named.items() if path.is_file()}
        if "train" in listed:
            return listed
        inside = {
            name: replace(source, image_dir=Path(entry.path), label_dir=label_dir / entry.name)
            for entry in listing(image_dir)
            if entry.is_dir() and (name := split_name(entry.name)) and (label_dir / entry.name).is_dir()
        }
        return inside if "train" in inside else {UNSPLIT: source}
    return {}


def _split_pairs(folder: Path) -> dict[str, BoxSource]:
    """Folders of the splits' names, each with pictures and labels; or one folder with both."""
    found: dict[str, BoxSource] = {}
    for entry in listing(folder):
        name = split_name(entry.name) if entry.is_dir() else None
        if name and (inside := _paired(Path(entry.path))):
            found[name] = next(iter(inside.values()))
    if found:
        return found
    has_labels = any(
        entry.name.endswith((".xml", ".txt")) and entry.name not in YOLO_NAMES for entry in listing(folder)
    )
    has_pictures = next(find_images(folder), None) is not None
    return {UNSPLIT: BoxSource(image_dir=folder, label_dir=folder)} if has_labels and has_pictures else {}


def _described(sources: Mapping[str, BoxSource]) -> BoxSurvey:
    order = [name for name in (UNSPLIT, "train", "val", "test") if name in sources]
    records = {
        name: read_boxes(sources[name], str(sources[name].json_file or sources[name].label_dir))
        for name in order
    }
    main = records[order[0]]
    boxes = Counter(box.label for record in main for box in record.boxes if not box.ignore)
    sizes = [_size(record) for record in main[:: max(1, -(-len(main) // _MOST_HEADERS))]]
    sizes = [size for size in sizes if size]
    if not sizes or not boxes:
        raise DatasetError(
            f"{sources[order[0]]}: none of {len(main)} pictures can be read, or none has a box"
        )
    width, height = (int(np.median(side)) for side in zip(*sizes, strict=True))
    sides = [
        max(box.right - box.left, box.bottom - box.top) / max(width, height)
        for record in main
        for box in record.boxes
    ]
    return BoxSurvey(
        format=recognise(sources[order[0]]),
        sources={name: sources[name] for name in order},
        pictures={name: len(records[name]) for name in order},
        boxes=dict(boxes.most_common()),
        width=width,
        height=height,
        side=float(np.median(sides)),
        most_boxes=max(len(record.boxes) for record in main),
    )


def _size(record: BoxRecord) -> tuple[int, int] | None:
    try:
        header = read_header(record.path)
    except DatasetError:
        return None
    return header.width, header.height
