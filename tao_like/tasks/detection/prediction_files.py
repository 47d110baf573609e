"""Detections as files that other programs read: COCO's JSON, and KITTI's label files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.data.masks.runs import Runs, area_of_runs
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.common.label_files import label_files

KITTI_BOX = "{left:.2f} {top:.2f} {right:.2f} {bottom:.2f}"
KITTI_LINE = f"{{label}} -1 -1 -10 {KITTI_BOX} -1 -1 -1 -1000 -1000 -1000 -10 {{score:.6f}}"
"""KITTI's values for what a 2D detector does not know, and the score at the end."""


@dataclass(frozen=True)
class ImageResult:
    """The boxes of an image.

    Attributes:
        key: name of the image.
        width: in pixels.
        height: in pixels.
        found: all boxes, in pixels of the image.
        is_shown: (M,) whether a box reaches the threshold of its class.
        runs: of each box (M,) the mask within it, as COCO's runs; None: there are no masks.
    """

    key: str
    width: int
    height: int
    found: Detections
    is_shown: npt.NDArray[np.bool_]
    runs: Sequence[Runs] | None = None

    def rows(self, *, thresholded: bool) -> Iterable[tuple[list[float], float, int]]:
        """Left, top, right, bottom, then score and class number, of all boxes or of those that are shown."""
        which = self.is_shown if thresholded else np.ones_like(self.is_shown)
        values = (self.found.boxes[which], self.found.scores[which], self.found.labels[which])
        return zip(*(each.tolist() for each in values), strict=True)

    def masks(self, *, thresholded: bool) -> Iterable[dict[str, Any]]:
        """What the records of the same boxes say of masks: nothing where there are none."""
        for number, is_shown in enumerate(self.is_shown.tolist()):
            if thresholded and not is_shown:
                continue
            if self.runs is None:
                yield {}
            else:
                runs = self.runs[number]
                yield {"segmentation": dict(runs), "area": area_of_runs(runs)}


def coco_text(results: Sequence[ImageResult], classes: Sequence[str], *, thresholded: bool) -> str:
    """A COCO dataset whose annotations carry a ``score``; ids count from 1.

    Numbers are not rounded, so that an evaluation of the file gives what the boxes themselves give.
    """
    annotations: list[dict[str, Any]] = []
    for image, result in enumerate(results, start=1):
        rows = zip(result.rows(thresholded=thresholded), result.masks(thresholded=thresholded), strict=True)
        for ((left, top, right, bottom), score, label), mask in rows:
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label + 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": score,
                    **mask,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return json_blocks(results, annotations, categories)


def json_blocks(
    results: Sequence[ImageResult], annotations: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> str:
    """A COCO dataset of images, whose ids count from 1, and of what is given."""
    images = [
        {"id": number, "file_name": result.key, "width": result.width, "height": result.height}
        for number, result in enumerate(results, start=1)
    ]
    blocks = {"images": images, "annotations": annotations, "categories": categories}
    return "{" + ",\n".join(f'"{name}": {_lines(entries)}' for name, entries in blocks.items()) + "}\n"


def _lines(entries: Sequence[dict[str, Any]]) -> str:
    """A JSON list with a line for each record."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]"


def kitti_texts(results: Sequence[ImageResult], classes: Sequence[str]) -> dict[str, str]:
    """A label file for each image, with the boxes that are shown; see `label_files`."""
    return label_files((result.key, _kitti_lines(result, classes)) for result in results)


def _kitti_lines(result: ImageResult, classes: Sequence[str]) -> list[str]:
    lines = []
    for (left, top, right, bottom), score, label in result.rows(thresholded=True):
        values = {"left": left, "top": top, "right": right, "bottom": bottom, "score": score}
        # A blank ends a field.
        lines.append(KITTI_LINE.format(label=classes[label].replace(" ", "_"), **values))
    return lines
