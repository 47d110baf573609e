"""A segmentation, polygons or runs, as pixels: the rule is COCO's (``rleFrPoly`` of cocoapi's maskApi.c)."""

from __future__ import annotations

import math
from typing import Any

from faster_coco_eval.core import mask as coco

from tao_like.data.boxes.annotation import Segmentation
from tao_like.data.masks.runs import Mask, Runs, decode_runs, readable_runs, runs_of, union
from tao_like.errors import DatasetError

FEWEST_NUMBERS = 6
"""x and y of three corners: less is no polygon and has no pixel."""
FARTHEST = 4
"""How far outside a corner may lie, in sides of the image: the rule walks along every pixel on the way."""
LEAST_REACH = 4096.0


def runs_of_segmentation(
    segmentation: Segmentation, width: int, height: int, where: str = "the mask"
) -> Runs:
    """The runs of an object on an image; it may have no pixel.

    Args:
        segmentation: polygons in pixels of the upright image, of which all are taken together; or runs.
        width: of the image.
        height: likewise.
        where: file and position in it, for messages.

    Raises:
        DatasetError: it is damaged, or runs are of another image's size.
    """
    if isinstance(segmentation, dict):
        runs = runs_of(segmentation, where)
        if runs["size"] != [height, width]:
            raise DatasetError(
                f"{where}: the segmentation is of an image of {runs['size'][1]} x {runs['size'][0]} pixels; "
                f"this one has {width} x {height}"
            )
        return runs
    polygons = [checked_polygon(polygon, width, height, where) for polygon in segmentation]
    drawn = [polygon for polygon in polygons if len(polygon) >= FEWEST_NUMBERS]
    if not drawn:
        return empty_runs(width, height)
    return union([readable_runs(part) for part in coco.frPyObjects(drawn, height, width)])


def mask_of_segmentation(
    segmentation: Segmentation, width: int, height: int, where: str = "the mask"
) -> Mask:
    """The mask (H, W) of an object on an image, 0 and 1. Arguments and errors: ``runs_of_segmentation``."""
    return decode_runs(runs_of_segmentation(segmentation, width, height, where))


def checked_polygon(numbers: Any, width: int, height: int, where: str) -> list[float]:
    """A polygon's x, y, x, y, ... as numbers.

    Raises:
        DatasetError: one of them is no number or very far outside of the image, or one is missing.
    """
    try:
        values = [float(value) for value in numbers]
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: a polygon of the segmentation is not a list of numbers") from error
    if len(values) % 2:
        raise DatasetError(
            f"{where}: a polygon of the segmentation has {len(values)} numbers; corners have two each"
        )
    reach = max(LEAST_REACH, FARTHEST * max(width, height))
    for value in values:
        if not math.isfinite(value) or abs(value) > reach:
            raise DatasetError(
                f"{where}: a polygon of the segmentation has a corner at {value}; the image has "
                f"{width} x {height} pixels"
            )
    return values


def empty_runs(width: int, height: int) -> Runs:
    """The runs of no pixel."""
    return runs_of({"size": [height, width], "counts": [height * width]})
