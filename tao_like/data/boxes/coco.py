"""Boxes from a COCO annotation file (cocodataset.org, "Data format"), and answers as a COCO results file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_like.data.boxes.annotation import Box, BoxRecord, labels_of
from tao_like.data.images.files import label_text
from tao_like.errors import DatasetError


def read_coco(json_file: Path, image_dir: Path | None) -> list[BoxRecord]:
    """Reads pictures and boxes, in the order of the file's pictures.

    Category ids need not be contiguous; pictures without annotations are kept; ``iscrowd`` becomes ``crowd``.

    Args:
        json_file: with ``images``, ``annotations`` and ``categories``.
        image_dir: what ``file_name`` starts from; None: the folder of the JSON file.

    Raises:
        DatasetError: the file is missing, no JSON, or lacks what is needed; the message says where.
    """
    content = _content(json_file)
    root = image_dir or json_file.parent
    names = {
        _number(entry, "id", f"{json_file}: categories"): label_text(
            str(_field(entry, "name", f"{json_file}: categories"))
        )
        for entry in content["categories"]
    }
    by_image: defaultdict[int, list[Box]] = defaultdict(list)
    for place, entry in enumerate(content["annotations"]):
        where = f"{json_file}: annotations[{place}]"
        by_image[_number(entry, "image_id", where)].append(_box(entry, names, where))
    records = list(_records(content["images"], by_image, json_file, root))
    if by_image:
        raise DatasetError(
            f"{json_file}: annotations name {len(by_image)} pictures that `images` does not list "
            f"(the first image_id is {next(iter(by_image))}); correct the ids"
        )
    return records


def coco_classes(json_file: Path) -> list[str]:
    """Names of all categories in the order of their ids. Raises DatasetError."""
    where = f"{json_file}: categories"
    categories = _content(json_file)["categories"]
    named = {
        _number(entry, "id", where): label_text(str(_field(entry, "name", where))) for entry in categories
    }
    return list(dict.fromkeys(named[number] for number in sorted(named)))


def _content(json_file: Path) -> dict[str, list[Any]]:
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
    images: list[Any], by_image: defaultdict[int, list[Box]], json_file: Path, root: Path
) -> Iterator[BoxRecord]:
    seen: set[int] = set()
    for place, entry in enumerate(images):
        where = f"{json_file}: images[{place}]"
        number = _number(entry, "id", where)
        if number in seen:
            raise DatasetError(f"{where}: the id {number} is there twice; ids must differ")
        seen.add(number)
        name = str(_field(entry, "file_name", where))
        boxes = tuple(by_image.pop(number, ()))
        yield BoxRecord(
            path=root / name,
            labels=labels_of(boxes),
            key=name,
            boxes=boxes,
            width=int(entry.get("width") or 0),
            height=int(entry.get("height") or 0),
            source=str(json_file),
        )


def _box(entry: Any, names: Mapping[int, str], where: str) -> Box:
    category = _number(entry, "category_id", where)
    if category not in names:
        raise DatasetError(f"{where}: category_id {category} is not among the categories")
    corners = _field(entry, "bbox", where)
    try:
        left, top, width, height = map(float, corners)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: bbox is {corners!r}; it must be [left, top, width, height]") from error
    area = entry.get("area", 0.0)
    return Box(
        names[category],
        left,
        top,
        left + width,
        top + height,
        crowd=bool(entry.get("iscrowd", 0)),
        ignore=bool(entry.get("ignore", 0)),
        area=float(area) if isinstance(area, int | float) else 0.0,
    )


def _field(entry: Any, name: str, where: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise DatasetError(f"{where}: `{name}` is missing")
    return entry[name]


def _number(entry: Any, name: str, where: str) -> int:
    value = _field(entry, name, where)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DatasetError(f"{where}: {name} is {value!r}; it must be a whole number")
    return value
