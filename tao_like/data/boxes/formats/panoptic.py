"""Segments of COCO's panoptic form: a JSON, and a PNG for each image whose colors are ids of segments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_like.data.boxes.annotation import Box, BoxRecord, PixelValue
from tao_like.data.boxes.formats.coco import (
    area_of,
    category_names,
    coco_content,
    coco_records,
    corners_of,
    field_of,
    id_of,
)
from tao_like.data.boxes.formats.text_files import flag_of
from tao_like.data.boxes.names import ImageNames
from tao_like.data.boxes.notes import Notes
from tao_like.data.boxes.outlines import box_around
from tao_like.errors import DatasetError

NO_PIXEL = (0.0, 0.0, 0.0, 0.0)


def read_panoptic(
    json_file: Path, image_dir: Path | None, panoptic_dir: Path | None, notes: Notes | None = None
) -> list[BoxRecord]:
    """Reads images and their segments (cocodataset.org, "Data format", 4. Panoptic Segmentation).

    A pixel's color is the id of its segment: red + 256 green + 65536 blue. The PNG files are not opened here
    but for segments without a ``bbox``; ``iscrowd`` becomes ``crowd``.

    Args:
        json_file: with ``images``, ``annotations`` and ``categories``.
        image_dir: what the images' ``file_name`` starts from; None: the folder of the JSON file.
        panoptic_dir: folder of the PNG files; None: the folder beside the JSON file that has its name.
        notes: gets what was noticed.

    Raises:
        DatasetError: something is missing or cannot be read; the message says where.
    """
    notes = Notes() if notes is None else notes
    content = coco_content(json_file)
    names = category_names(content["categories"], json_file)
    folder = panoptic_dir or json_file.with_suffix("")
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; panoptic_dir names that of the panoptic PNG files")
    by_image: defaultdict[str, list[Box]] = defaultdict(list)
    for index, entry in enumerate(content["annotations"]):
        where = f"{json_file}: annotations[{index}]"
        number = id_of(entry, "image_id", where)
        if number in by_image:
            raise DatasetError(f"{where}: the image {number} is annotated twice; each has one PNG file")
        by_image[number] = list(_segments(entry, folder, names, where))
    images = ImageNames(image_dir or json_file.parent, notes)
    return coco_records(content["images"], by_image, json_file, images)


def panoptic_regions(json_file: Path) -> list[str]:
    """Names of the categories that are regions (stuff), not objects. Raises DatasetError."""
    content = coco_content(json_file)
    names = category_names(content["categories"], json_file)
    found = []
    for index, entry in enumerate(content["categories"]):
        where = f"{json_file}: categories[{index}]"
        if not flag_of(entry.get("isthing", 1), f"{where}: isthing"):
            found.append(names[id_of(entry, "id", where)])
    return list(dict.fromkeys(found))


def _segments(entry: Any, folder: Path, names: Mapping[str, str], where: str) -> Iterator[Box]:
    """The segments of an image."""
    file_name, segments = field_of(entry, "file_name", where), field_of(entry, "segments_info", where)
    path = folder / str(file_name)
    if not path.is_file():
        raise DatasetError(
            f"{where}: there is no file {path}; panoptic_dir names the folder of the PNG files"
        )
    if not isinstance(segments, list):
        raise DatasetError(f"{where}: segments_info is no list")
    for index, segment in enumerate(segments):
        inner = f"{where}: segments_info[{index}]"
        category, value = id_of(segment, "category_id", inner), id_of(segment, "id", inner)
        if category not in names:
            raise DatasetError(f"{inner}: category_id {category} is not among the categories")
        if not value.isdecimal() or not 0 < int(value) < 1 << 24:
            raise DatasetError(
                f"{inner}: id is {value}; it must be the color of the segment's pixels as a number"
            )
        pixels = PixelValue(path, int(value), packed=True)
        corners = corners_of(segment["bbox"], inner) if segment.get("bbox") else box_around(pixels, inner)
        yield Box(
            names[category],
            *(corners or NO_PIXEL),
            crowd=flag_of(segment.get("iscrowd"), f"{inner}: iscrowd"),
            area=area_of(segment.get("area")),
            segmentation=pixels,
        )
