"""Boxes from a COCO annotation file (cocodataset.org, "Data format")."""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_like.data.boxes.annotation import Box, BoxRecord, labels_of
from tao_like.data.boxes.formats.text_files import flag_of, side_of
from tao_like.data.boxes.names import ImageNames, plain_name
from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.outlines import box_around, outline_of
from tao_like.data.images.files import label_text
from tao_like.data.masks.runs import LARGEST_SIDE
from tao_like.errors import DatasetError


def read_coco(json_file: Path, image_dir: Path | None, notes: Notes | None = None) -> list[BoxRecord]:
    """Reads images and boxes, in the order of the file's images.

    Ids are whole numbers or texts with gaps or without; images without annotations are kept; ``iscrowd``
    becomes ``crowd``; outlines are kept as they are given. An annotation with an outline and no box gets the
    box around it; one with neither is left out.

    Args:
        json_file: with ``images``, ``annotations`` and ``categories``.
        image_dir: what ``file_name`` starts from; None: the folder of the JSON file.
        notes: gets what was noticed.

    Raises:
        DatasetError: the file is missing, no JSON, or lacks what is needed; the message says where.
    """
    notes = Notes() if notes is None else notes
    content = coco_content(json_file)
    names = category_names(content["categories"], json_file)
    by_image: defaultdict[str, list[Box]] = defaultdict(list)
    boxless = 0
    for index, entry in enumerate(content["annotations"]):
        where = f"{json_file}: annotations[{index}]"
        box = _box(entry, names, where)
        boxes = by_image[id_of(entry, "image_id", where)]
        if box is None:
            boxless += 1
            message = "{count} annotations without a box or an outline; left out"
            notes.add("warning", "no_box", message, [where])
        else:
            boxes.append(box)
    if boxless and boxless == len(content["annotations"]):
        raise DatasetError(f"{json_file}: none of its {boxless} annotations has a `bbox` or a `segmentation`")
    return coco_records(
        content["images"], by_image, json_file, ImageNames(image_dir or json_file.parent, notes)
    )


def coco_records(
    images: list[Any], by_image: defaultdict[str, list[Box]], json_file: Path, image_names: ImageNames
) -> list[BoxRecord]:
    """The images of a file with their objects.

    Args:
        images: the file's list.
        by_image: objects by the id of their image.
        json_file: for messages.
        image_names: finds the images' files.

    Raises:
        DatasetError: an image is listed twice, or objects are of an image that is not listed.
    """
    records = list(_records(images, by_image, json_file, image_names))
    if by_image:
        raise DatasetError(
            f"{json_file}: annotations name {len(by_image)} images that `images` does not list "
            f"(the first image_id is {next(iter(by_image))}); correct the ids"
        )
    return records


def coco_classes(json_file: Path) -> list[str]:
    """Names of all categories in the order of their ids. Raises DatasetError."""
    named = category_names(coco_content(json_file)["categories"], json_file)
    numbers = list(named)
    if all(number.lstrip("-").isdecimal() for number in numbers):
        numbers.sort(key=int)
    return list(dict.fromkeys(named[number] for number in numbers))


def category_names(categories: list[Any], json_file: Path) -> dict[str, str]:
    """The name of each category by its id. Raises DatasetError."""
    names: dict[str, str] = {}
    for index, entry in enumerate(categories):
        where = f"{json_file}: categories[{index}]"
        number = id_of(entry, "id", where)
        given = field_of(entry, "name", where)
        name = label_text(str(given).strip()) if isinstance(given, str | int | float) else ""
        if not name:
            raise DatasetError(f"{where}: the name is {given!r}; give the class a name")
        if names.setdefault(number, name) != name:
            raise DatasetError(
                f"{where}: the id {number} of {name!r} is that of {names[number]!r} too; ids must differ"
            )
    return names


def coco_content(json_file: Path) -> dict[str, list[Any]]:
    """The lists of a COCO file. Raises DatasetError."""
    if not json_file.is_file():
        raise DatasetError(f"there is no file {json_file}; give a COCO annotation file")
    try:
        content = json.loads(json_file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{json_file} is not valid JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DatasetError(
                f"{json_file} has no list `{key}`; a COCO annotation file has images, annotations, categories"
            )
    return dict(content)


def _records(
    images: list[Any], by_image: defaultdict[str, list[Box]], json_file: Path, image_names: ImageNames
) -> Iterator[BoxRecord]:
    seen: set[str] = set()
    read_from: dict[Path, str] = {}
    for index, entry in enumerate(images):
        where = f"{json_file}: images[{index}]"
        number = id_of(entry, "id", where)
        if number in seen:
            raise DatasetError(f"{where}: the id {number} is there twice; ids must differ")
        seen.add(number)
        path, key = _image(entry, where, image_names)
        name = str(entry["file_name"])
        if path in read_from:
            raise DatasetError(
                f"{where}: {name} and {read_from[path]} are one file, {path}; list each file once, with all "
                "of its annotations"
            )
        read_from[path] = name
        boxes = tuple(by_image.pop(number, ()))
        yield BoxRecord(
            path=path,
            labels=labels_of(boxes),
            key=key,
            boxes=boxes,
            width=side_of(entry.get("width"), f"{where}: width"),
            height=side_of(entry.get("height"), f"{where}: height"),
            source=str(json_file),
        )


def _image(entry: Any, where: str, image_names: ImageNames) -> tuple[Path, str]:
    """An image's file and key; the file that its name states where none is there."""
    name = field_of(entry, "file_name", where)
    if not isinstance(name, str | int) or not str(name).strip():
        raise DatasetError(f"{where}: file_name is {name!r}; it must name an image")
    name = str(name)
    stated = image_names.image_dir / name
    if stated.is_file():
        return stated, posixpath.normpath(name)
    try:
        path = image_names.find(name)
    except DatasetError:
        # A folder without images: each of them is then reported as missing, by its name.
        path = None
    if path is None:
        return image_names.image_dir / plain_name(name), plain_name(name)
    return path, image_names.key(path)


def _box(entry: Any, names: Mapping[str, str], where: str) -> Box | None:
    """The box of an annotation; None where it has neither a box nor an outline."""
    category = id_of(entry, "category_id", where)
    if category not in names:
        raise DatasetError(f"{where}: category_id {category} is not among the categories")
    outline = outline_of(entry.get("segmentation"), where)
    given = entry.get("bbox")
    if given is None or given == []:
        corners = box_around(outline, where) if outline else None
        if corners is None:
            return None
    else:
        corners = corners_of(given, where)
    return Box(
        names[category],
        *corners,
        crowd=flag_of(entry.get("iscrowd"), f"{where}: iscrowd"),
        ignore=flag_of(entry.get("ignore"), f"{where}: ignore"),
        area=area_of(entry.get("area")),
        segmentation=outline,
    )


def area_of(given: Any) -> float:
    """An ``area`` in square pixels; 0 where none is stated that an object can have."""
    possible = isinstance(given, int | float) and 0 < given <= LARGEST_SIDE**2
    return float(given) if possible else 0.0


def corners_of(given: Any, where: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a ``bbox``. Raises DatasetError."""
    try:
        left, top, width, height = map(float, given)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: bbox is {given!r}; it must be [left, top, width, height]") from error
    return left, top, left + width, top + height


def field_of(entry: Any, name: str, where: str) -> Any:
    """What an entry has under a name. Raises DatasetError."""
    if not isinstance(entry, dict) or name not in entry:
        raise DatasetError(f"{where}: `{name}` is missing")
    return entry[name]


def id_of(entry: Any, name: str, where: str) -> str:
    """An id as a text: 7 and "7" are the same, as some tools write the one here and the other there.

    Raises:
        DatasetError: it is neither.
    """
    value = field_of(entry, name, where)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise DatasetError(f"{where}: {name} is {value!r}; it must be a whole number or a text")
    return str(value).strip()
