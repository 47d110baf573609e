"""A segmentation, polygons or runs, as pixels: the rule is COCO's (``rleFrPoly`` of cocoapi's maskApi.c)."""

from __future__ import annotations

import math
from typing import Any

from faster_coco_eval.core import mask as coco

from tao_like.data.boxes.annotation import PixelValue, Segmentation
from tao_like.data.masks.files import pixel_values
from tao_like.data.masks.runs import Mask, Runs, decode_runs, encode_mask, readable_runs, runs_of, union
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
        segmentation: polygons in pixels of the upright image, of which all are taken together; or runs; or
            the pixels of an image file.
        width: of the image.
        height: likewise.
        where: file and position in it, for messages.

    Raises:
        DatasetError: it is damaged, or of another image's size.
    """
    if isinstance(segmentation, PixelValue):
        return runs_of_pixels(segmentation, (width, height), where)
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


def runs_of_pixels(pixels: PixelValue, size: tuple[int, int] | None = None, where: str = "the mask") -> Runs:
    """The runs of the pixels of an image file that hold a value; there may be none.

    Args:
        pixels: which ones.
        size: width and height of the image that they are an object of; None: any.
        where: file and place, for messages.

    Raises:
        DatasetError: the file cannot be read, or is of another size.
    """
    values = pixel_values(pixels.path, packed=pixels.packed)
    if size is not None and values.shape != size[::-1]:
        raise DatasetError(
            f"{where}: {pixels.path} has {values.shape[1]} x {values.shape[0]} pixels; its image has "
            f"{size[0]} x {size[1]}"
        )
    return encode_mask(values == pixels.value)


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
    except (TypeError, ValueError, OverflowError) as error:
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
