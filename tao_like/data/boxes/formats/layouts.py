"""How folders of images and boxes are laid out: what tools write, and what people make of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tao_like.data.boxes.class_lists import YAML_SUFFIXES, read_yaml, yaml_classes
from tao_like.data.boxes.formats.csv_boxes import csv_image_names, is_csv_of_boxes
from tao_like.data.boxes.formats.cvat import cvat_image_names, is_cvat
from tao_like.data.boxes.formats.recognition import SUFFIXES
from tao_like.data.boxes.names import name_tails, plain_name, read_names
from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.sources import BoxSource
from tao_like.data.images.files import find_images, listing, split_name, suffix
from tao_like.data.images.named import same_file
from tao_like.data.splits.surveyed import UNSPLIT
from tao_like.errors import DatasetError

LAYOUTS = """\
Layouts that are understood:
  COCO    one JSON file for each split, or for all, beside or above the folders of the images
  VOC     JPEGImages and Annotations (XML), perhaps with ImageSets/Main/train.txt, val.txt, test.txt
  KITTI   image_2 and label_2
  YOLO    data.yaml (ultralytics, Roboflow); images and labels, or train/images and train/labels, with
          classes.txt
  CVAT    annotations.xml of "CVAT for images" beside the images or above their folder
  CSV     filename,width,height,class,xmin,ymin,xmax,ymax
  files beside the images, also in folders train, val, test: LabelImg (.xml or .txt), LabelMe (.json)"""
_PAIRS = (
    ("images", "labels"),
    ("image_2", "label_2"),
    ("JPEGImages", "Annotations"),
    ("images", "annotations"),
    ("images", "json"),
    ("JPEGImages", "labels"),
)
_DEEPEST_JSON = 2
_MOST_SHARED_FILES = 20
"""A folder with more JSON files than this holds one for each image, not one for many."""
_MOST_NAMES = 10
_MOST_WRAPPERS = 3
Sources = dict[str, tuple[BoxSource, ...]]
"""For each split, its sources."""
OneEach = dict[str, BoxSource]


def find_sources(folder: Path, notes: Notes) -> Sources:
    """Where images and boxes are, for each split or under the one name ``all``, if a layout is known.

    Raises:
        DatasetError: a description of the data is there and cannot be used.
    """
    finders: Sequence[Callable[[Path], Sources]] = (
        lambda folder: _data_yaml(folder, notes),
        *(_as_tuples(find) for find in (coco_sources, _paired, _one_file, _beside)),
    )
    for _ in range(_MOST_WRAPPERS):
        for find in finders:
            sources = find(folder)
            if "train" in sources or UNSPLIT in sources:
                return sources
        entries = [entry for entry in listing(folder) if entry.is_dir()]
        if len(entries) != 1:
            break
        # An archive often unpacks into a folder within the folder.
        folder = Path(entries[0].path)
    return {}


def _as_tuples(find: Callable[[Path], OneEach]) -> Callable[[Path], Sources]:
    return lambda folder: {name: (source,) for name, source in find(folder).items()}


def split_of(text: str) -> str | None:
    """The split that a name such as ``instances_val2017`` tells; None where it tells none."""
    return next(filter(None, map(split_name, re.split(r"[^a-z]+", text.lower()))), None)


def _split_of_file(path: Path, folder: Path) -> str:
    """The split of a file that labels many images: by its name, or by its folder's below the data's."""
    of_folder = split_of(path.parent.name) if path.parent != folder else None
    return split_of(path.stem) or of_folder or UNSPLIT


def _data_yaml(folder: Path, notes: Notes) -> Sources:
    """The splits of data.yaml; its names become the classes."""
    for entry in listing(folder):
        if suffix(entry.name) not in YAML_SUFFIXES:
            continue
        path = Path(entry.path)
        try:
            content = read_yaml(path)
        except DatasetError:
            continue
        if "names" not in content or not ("train" in content or "val" in content):
            continue
        yaml_classes(path, content)
        found: Sources = {}
        for key, value in content.items():
            split = split_name(str(key))
            if not split or value in (None, "", []):
                continue
            sources = []
            for one in value if isinstance(value, list) else [value]:
                source = _yaml_source(path, content, one)
                if source is None:
                    message = f"{path}: {key} names {one}, which is not there; left out"
                    notes.add("warning", "missing_split", message)
                else:
                    sources.append(replace(source, classes_file=path))
            if sources:
                found[split] = tuple(dict.fromkeys(sources))
        return found
    return {}


def _yaml_source(path: Path, content: Mapping[str, Any], value: Any) -> BoxSource | None:
    base = path.parent / str(content.get("path") or "")
    locations = [base / str(value), path.parent / str(value)]
    # Roboflow writes ../train/images for train/images; a `path` is that of the machine that made the file.
    locations += [path.parent / tail for _, tail in name_tails(plain_name(str(value)))]
    location = next(
        (location for location in locations if location.exists() and location != path.parent), None
    )
    if location is None:
        return None
    if location.is_file():
        return _yaml_list(location, base if base.is_dir() else path.parent)
    if (location / "images").is_dir() and next(find_images(location / "images"), None) is not None:
        location = location / "images"
    return BoxSource(image_dir=location, label_dir=_yolo_labels(location), format="yolo")


def _yaml_list(list_file: Path, base: Path) -> BoxSource | None:
    """A list of images: of a folder images with its labels, or with labels beside the images."""
    names = [plain_name(name) for name in read_names(list_file)[:_MOST_NAMES]]
    for image_dir in (base / "images", base):
        tails = [tail for name in names for _, tail in name_tails(name)]
        if image_dir.is_dir() and any((image_dir / tail).is_file() for tail in tails):
            return BoxSource(
                image_dir=image_dir, label_dir=_yolo_labels(image_dir), format="yolo", list_file=list_file
            )
    return None


def _yolo_labels(image_dir: Path) -> Path:
    """The folder of labels: ``labels`` in the place of the last ``images``; else the images' own."""
    parts = list(image_dir.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        labels = Path(*parts[:last], "labels", *parts[last + 1 :])
        if labels.is_dir():
            return labels
    return image_dir


def coco_sources(folder: Path) -> OneEach:
    """COCO files and the folders of their images, for each split or for all. Raises DatasetError."""
    found: OneEach = {}
    for path in _json_files(folder, _DEEPEST_JSON):
        names = _coco_image_names(path)
        image_dir = _image_dir(folder, path, names) if names else None
        if image_dir is not None:
            source = BoxSource(image_dir=image_dir, json_file=path, format="coco")
            found.setdefault(_split_of_file(path, folder), source)
    return _split_or_whole(found)


def _split_or_whole(found: OneEach) -> OneEach:
    """Without a file for all where splits have their own; a single file is for all, whatever its name."""
    if "train" in found:
        found.pop(UNSPLIT, None)
    elif UNSPLIT not in found and len(found) == 1:
        return {UNSPLIT: next(iter(found.values()))}
    return found


def _json_files(folder: Path, depth: int) -> Iterator[Path]:
    entries = listing(folder)
    files = [Path(entry.path) for entry in entries if suffix(entry.name) == ".json" and entry.is_file()]
    if len(files) <= _MOST_SHARED_FILES:
        yield from files
    if depth:
        for entry in entries:
            if entry.is_dir():
                yield from _json_files(Path(entry.path), depth - 1)


def _coco_image_names(path: Path) -> list[str]:
    """Names of the first images in a COCO file; none for another file, or one without boxes."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return []
    if not isinstance(content, dict):
        return []
    images, annotations = content.get("images"), content.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list) or "categories" not in content:
        return []
    has_boxes = any(
        isinstance(entry, dict) and (entry.get("bbox") or entry.get("segmentation"))
        for entry in annotations[:_MOST_NAMES]
    )
    names = [entry.get("file_name") for entry in images[:_MOST_NAMES] if isinstance(entry, dict)]
    return [str(name) for name in names if name] if has_boxes else []


def _image_dir(folder: Path, label_file: Path, names: Sequence[str]) -> Path | None:
    """The folder that the names of images in a file start from."""
    stems = {label_file.stem, label_file.stem.removeprefix("instances_")}
    bases = [location for location in (label_file.parent, folder, folder / "images") if location.is_dir()]
    candidates = [*bases, *(base / stem for base in bases for stem in sorted(stems))]
    for base in bases:
        candidates += [Path(entry.path) for entry in listing(base) if entry.is_dir()]
    wanted = split_of(label_file.stem) or split_of(label_file.parent.name)
    candidates.sort(key=lambda location: wanted is None or split_of(location.name) != wanted)
    whole = [plain_name(name) for name in names]
    shortened = [tail for name in whole for dropped, tail in name_tails(name) if dropped]
    for spellings in ([*names, *whole], shortened):
        for location in candidates:
            if any((location / name).is_file() for name in spellings):
                return location
    return None


def _paired(folder: Path) -> OneEach:
    """A folder of images beside one of labels; split by lists, or by folders inside or above."""
    for images, labels in _PAIRS:
        image_dir, label_dir = folder / images, folder / labels
        if not (image_dir.is_dir() and label_dir.is_dir()) or not _has_label_files(label_dir):
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
    found: OneEach = {}
    for name, path in _split_folders(folder):
        if inside := _paired(path):
            found[name] = next(iter(inside.values()))
    return found


def _has_label_files(label_dir: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in label_dir.rglob("*.*"))


def _split_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    for entry in listing(folder):
        if entry.is_dir() and (name := split_name(entry.name)):
            yield name, Path(entry.path)


def _one_file(folder: Path) -> OneEach:
    """A CSV file of boxes, or CVAT's XML, for each split or for all."""
    found: OneEach = {}
    folders = [folder, *(Path(entry.path) for entry in listing(folder) if entry.is_dir())]
    for path in (path for one in folders for path in _single_files(one)):
        try:
            if path.suffix.lower() == ".xml":
                names = cvat_image_names(path) if is_cvat(path) else []
            else:
                names = csv_image_names(path) if is_csv_of_boxes(path) else []
        except DatasetError:
            continue
        image_dir = _image_dir(folder, path, names[:_MOST_NAMES])
        if image_dir is not None:
            kind = "cvat" if path.suffix.lower() == ".xml" else "csv"
            source = BoxSource(image_dir=image_dir, label_file=path, format=kind)
            found.setdefault(_split_of_file(path, folder), source)
    return _split_or_whole(found)


def _single_files(folder: Path) -> list[Path]:
    """CSV files of a folder, and XML files where there are a few."""
    by_suffix: dict[str, list[Path]] = {}
    for entry in listing(folder):
        if entry.is_file():
            by_suffix.setdefault(suffix(entry.name), []).append(Path(entry.path))
    xml = by_suffix.get(".xml", [])
    return [*by_suffix.get(".csv", []), *(xml if len(xml) <= _MOST_SHARED_FILES else [])]


def _beside(folder: Path) -> OneEach:
    """Label files beside their images; split by folders of that name, also below a folder ``images``."""
    for location in (folder, folder / "images"):
        if location.is_dir():
            found = {name: path for name, path in _split_folders(location) if _has_labels_beside(path)}
            if "train" in found:
                return {name: BoxSource(image_dir=path, label_dir=path) for name, path in found.items()}
    return {UNSPLIT: BoxSource(image_dir=folder, label_dir=folder)} if _has_labels_beside(folder) else {}


def _has_labels_beside(folder: Path) -> bool:
    return any(same_file(path.with_suffix(kind)) for path in find_images(folder) for kind in SUFFIXES)
