"""Detections as files that other programs read: COCO's JSON, and KITTI's label files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tao_like.runtime.predictions.boxes import Detection
from tao_like.tasks.common.label_files import label_files

KITTI_BOX = "{left:.2f} {top:.2f} {right:.2f} {bottom:.2f}"
KITTI_LINE = f"{{label}} -1 -1 -10 {KITTI_BOX} -1 -1 -1 -1000 -1000 -1000 -10 {{score:.6f}}"
"""KITTI's values for what a 2D detector does not know, and the score at the end."""


class PictureResult(NamedTuple):
    """The detections of a picture.

    Attributes:
        key: name of the picture.
        width: in pixels.
        height: in pixels.
        detections: what was found.
    """

    key: str
    width: int
    height: int
    detections: tuple[Detection, ...]


def coco_text(results: Sequence[PictureResult], classes: Sequence[str]) -> str:
    """A COCO dataset whose annotations carry a ``score``; ids count from 1."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    annotations: list[dict[str, Any]] = []
    for picture, result in enumerate(results, start=1):
        for found in result.detections:
            left, top, right, bottom = found.box
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture,
                    "category_id": numbers[found.label],
                    "bbox": [round(value, 3) for value in (left, top, width, height)],
                    "area": round(width * height, 3),
                    "iscrowd": 0,
                    "score": round(found.score, 6),
                }
            )
    images = [
        {"id": number, "file_name": result.key, "width": result.width, "height": result.height}
        for number, result in enumerate(results, start=1)
    ]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories}, indent=1)


def kitti_texts(results: Sequence[PictureResult]) -> dict[str, str]:
    """A label file for each picture; see `label_files`."""
    return label_files((result.key, _kitti_lines(result)) for result in results)


def _kitti_lines(result: PictureResult) -> list[str]:
    lines = []
    for found in result.detections:
        left, top, right, bottom = found.box
        values = {"left": left, "top": top, "right": right, "bottom": bottom, "score": found.score}
        # A blank ends a field.
        lines.append(KITTI_LINE.format(label=found.label.replace(" ", "_"), **values))
    return lines
