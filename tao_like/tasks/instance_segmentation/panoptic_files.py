"""Segments as files in COCO's panoptic form: a JSON, and for each image a PNG whose colors are ids."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tao_like.plots.palette import class_color, rgb
from tao_like.runtime.geometry.pasting import Photo, mask_box
from tao_like.runtime.predictions.instances import Instances
from tao_like.tasks.common.label_files import file_names
from tao_like.tasks.detection.prediction_files import ImageResult, json_blocks

PANOPTIC_JSON = "panoptic.json"
PANOPTIC_FOLDER = "panoptic"
_IDS = 1 << 24
_STEP = 29 + 256 * 67 + 65536 * 113
"""Between the colors of two objects of a class. It is odd, so all ids are met before one comes again."""


@dataclass(frozen=True)
class PanopticImage:
    """The segments of an image.

    Attributes:
        png: a file whose colors are ids: red + 256 green + 65536 blue; 0 where there is no segment.
        segments: COCO's entry of each.
    """

    png: bytes
    segments: list[dict[str, Any]]


@dataclass(frozen=True)
class SegmentedResult(ImageResult):
    """The objects of an image, and its segments.

    Attributes:
        panoptic: of this image; None: they are not written.
    """

    panoptic: PanopticImage | None = None


def panoptic_image(found: Instances, masks: Sequence[Photo], size: tuple[int, int]) -> PanopticImage:
    """The segments of an image in COCO's form. Objects of a class have shades of its color.

    Args:
        found: the segments; class numbers count from 0, COCO's ``category_id`` from 1.
        masks: of each, (height, width) without common pixels.
        size: width and height of the image.
    """
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    segments: list[dict[str, Any]] = []
    taken = {0}
    for label, score, mask in zip(found.labels.tolist(), found.scores.tolist(), masks, strict=True):
        number = _free_id(label, taken)
        pixels[mask] = (number & 255, number >> 8 & 255, number >> 16)
        left, top, right, bottom = map(int, mask_box(mask))
        segments.append(
            {
                "id": number,
                "category_id": label + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": int(np.count_nonzero(mask)),
                "iscrowd": 0,
                "score": score,
            }
        )
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return PanopticImage(content.getvalue(), segments)


def _free_id(label: int, taken: set[int]) -> int:
    """The id that the class's color stands for, or the next that no segment of the image has; then taken."""
    red, green, blue = rgb(class_color(label))
    number = red + 256 * green + 65536 * blue
    while number in taken:
        number = (number + _STEP) % _IDS
    taken.add(number)
    return number


def panoptic_files(
    results: Sequence[SegmentedResult], classes: Sequence[str], regions: frozenset[int]
) -> dict[str, str | bytes]:
    """The JSON and the PNG files, by path; images have the numbers that they have in `coco_text`.

    Args:
        results: of all images.
        classes: class names.
        regions: numbers of the classes that are no things.
    """
    names = file_names((result.key for result in results), f"{PANOPTIC_FOLDER}/{{}}.png")
    files: dict[str, str | bytes] = {}
    annotations = []
    for number, (name, result) in enumerate(zip(names, results, strict=True), start=1):
        if result.panoptic is None:
            continue
        files[name] = result.panoptic.png
        file_name = name.removeprefix(f"{PANOPTIC_FOLDER}/")
        annotations.append(
            {"image_id": number, "file_name": file_name, "segments_info": result.panoptic.segments}
        )
    categories = [
        {"id": number + 1, "name": name, "isthing": int(number not in regions)}
        for number, name in enumerate(classes)
    ]
    return {PANOPTIC_JSON: json_blocks(results, annotations, categories), **files}
