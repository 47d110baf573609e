"""Boxes around outlines as COCO writes them: polygons, and runs of pixels."""

from __future__ import annotations

from typing import Any

from tao_like.data.boxes.annotation import PixelValue, Segmentation, around, polygon_points
from tao_like.data.masks.runs import Corners, box_of_runs, runs_of
from tao_like.data.masks.segmentation import runs_of_pixels
from tao_like.errors import DatasetError

_FEWEST_NUMBERS = 6


def outline_of(value: Any, where: str) -> Segmentation | None:
    """A `segmentation` in its one form, polygons or runs as a text; None where there is none.

    Raises:
        DatasetError: it is neither polygons nor runs.
    """
    if not value:
        return None
    if isinstance(value, dict) and "counts" in value and "size" in value:
        try:
            return dict(runs_of(value, where))
        except DatasetError:
            # Boxes can be trained on without outlines; who needs the mask, is told of it then.
            return value
    if isinstance(value, list) and all(isinstance(numbers, list) for numbers in value):
        return value
    raise DatasetError(
        f"{where}: segmentation is neither a list of polygons nor an object of counts and size"
    )


def box_around(outline: Segmentation, where: str) -> Corners | None:
    """Left, top, right and bottom of an outline; None where it has no pixel"""
    if isinstance(outline, PixelValue):
        return box_of_runs(runs_of_pixels(outline, where=where))
    if isinstance(outline, dict):
        return box_of_runs(runs_of(outline, where))
    try:
        return _around_polygons(outline)
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise DatasetError(f"{where}: the segmentation cannot be read: {error}") from error


def _around_polygons(polygons: list[list[float]]) -> Corners | None:
    points = [
        point
        for numbers in polygons
        if len(numbers) >= _FEWEST_NUMBERS
        for point in polygon_points([float(value) for value in numbers])
    ]
    return around(points) if points else None
