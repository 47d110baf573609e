"""The outlines of a mask as polygons."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tao_like.data.masks.runs import Mask

Point = tuple[int, int]
"""Column and row of a pixel's corner."""


def polygons_of_mask(mask: Mask) -> list[list[float]]:
    """The outer outlines of a mask's parts, along the edges of pixels; holes are filled.

    Decoded by COCO's rule they give the mask back, but for holes. Pixels that touch by a corner alone are
    two parts.

    Args:
        mask: (H, W), 0 where the object is not.

    Returns:
        Polygons x, y, x, y, ... in pixels, the corners alone; none for an empty mask.
    """
    following = _edges(mask)
    polygons = []
    while following:
        outline = _walk(following)
        # Clockwise where rows go down: an outer outline has its part to the right, and a positive area.
        if _doubled_area(outline) > 0:
            polygons.append([float(side) for point in outline for side in point])
    return polygons


def _edges(mask: Mask) -> dict[Point, list[Point]]:
    """From each corner of a pixel on the outline the next ones, with the object to the right."""
    inside = np.pad(np.asarray(mask) != 0, 1)
    here = inside[1:-1, 1:-1]
    # Neighbour that must be outside; first and last corner of the edge, from the pixel's upper left.
    sides = (
        (inside[:-2, 1:-1], (0, 0), (1, 0)),
        (inside[1:-1, 2:], (1, 0), (1, 1)),
        (inside[2:, 1:-1], (1, 1), (0, 1)),
        (inside[1:-1, :-2], (0, 1), (0, 0)),
    )
    following: defaultdict[Point, list[Point]] = defaultdict(list)
    for neighbour, first, last in sides:
        rows, columns = np.nonzero(here & ~neighbour)
        for column, row in zip(columns.tolist(), rows.tolist(), strict=True):
            following[column + first[0], row + first[1]].append((column + last[0], row + last[1]))
    return dict(following)


def _walk(following: dict[Point, list[Point]]) -> list[Point]:
    """Takes one closed outline out of the edges; its corners."""
    start = point = next(iter(following))
    goal = following[start][0]
    corners: list[Point] = []
    step = (0, 0)
    while True:
        following[point].remove(goal)
        if not following[point]:
            del following[point]
        if (goal[0] - point[0], goal[1] - point[1]) != step:
            corners.append(point)
            step = (goal[0] - point[0], goal[1] - point[1])
        point = goal
        # Where two pixels touch by a corner there are two ways on: the one to the right stays with the pixel.
        right = (point[0] - step[1], point[1] + step[0])
        choices = following.get(point, [])
        if point == start and right not in choices:
            return corners
        goal = right if right in choices else choices[0]


def _doubled_area(corners: list[Point]) -> int:
    """Twice the area (the shoelace formula), below 0 where the outline is a hole's."""
    following = corners[1:] + corners[:1]
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(corners, following, strict=True))
