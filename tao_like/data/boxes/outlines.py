"""Boxes around outlines as COCO writes them: polygons, and runs of pixels."""

from __future__ import annotations

from typing import Any

from tao_like.data.boxes.annotation import Segmentation, around, polygon_points
from tao_like.errors import DatasetError

_FEWEST_NUMBERS = 6
Corners = tuple[float, float, float, float]


def outline_of(value: Any, where: str) -> Segmentation | None:
    """A `segmentation` as it is given; None where there is none.

    Raises:
        DatasetError: it is neither polygons nor runs.
    """
    if not value:
        return None
    if isinstance(value, dict) and "counts" in value and "size" in value:
        return value
    if isinstance(value, list) and all(isinstance(numbers, list) for numbers in value):
        return value
    raise DatasetError(
        f"{where}: segmentation is neither a list of polygons nor an object of counts and size"
    )


def box_around(outline: Segmentation, where: str) -> Corners | None:
    """Left, top, right and bottom of an outline; None where it has no point.

    Raises:
        DatasetError: a polygon has an odd number of values or no numbers, or the runs are damaged.
    """
    try:
        return _around_runs(outline) if isinstance(outline, dict) else _around_polygons(outline)
    except (TypeError, ValueError, IndexError) as error:
        raise DatasetError(f"{where}: the segmentation cannot be read: {error}") from error


def _around_polygons(polygons: list[list[float]]) -> Corners | None:
    points = [
        point
        for numbers in polygons
        if len(numbers) >= _FEWEST_NUMBERS
        for point in polygon_points([float(value) for value in numbers])
    ]
    return around(points) if points else None


def _around_runs(runs: dict[str, Any]) -> Corners | None:
    """Runs go down the columns, and begin with pixels outside of the object."""
    height = int(runs["size"][0])
    counts = runs["counts"]
    lengths = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    corners: list[tuple[float, float]] = []
    begin = 0
    for number, length in enumerate(lengths):
        if length < 0:
            raise ValueError("a run has fewer than 0 pixels")
        if number % 2 and length:
            (first, top), (last, bottom) = divmod(begin, height), divmod(begin + length - 1, height)
            if first != last:
                # A run over the end of a column touches its bottom and the next one's top.
                top, bottom = 0, height - 1
            corners += [(first, top), (last + 1, bottom + 1)]
        begin += length
    return around(corners) if corners else None


def _unpacked(text: str) -> list[int]:
    """Runs from COCO's text: 5 bits a character; from the fourth run on, what the last but one lacks."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths
