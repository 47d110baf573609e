"""From a mask to polygons: the rings along the edges of its pixels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

Point = tuple[int, int]
_RIGHT_TURN_FIRST = {
    # Of two ways on, the one that turns right keeps regions apart that touch at a corner alone.
    (1, 0): ((0, 1), (1, 0), (0, -1)),
    (0, 1): ((-1, 0), (0, 1), (1, 0)),
    (-1, 0): ((0, -1), (-1, 0), (0, 1)),
    (0, -1): ((1, 0), (0, -1), (-1, 0)),
}


def mask_rings(mask: npt.NDArray[np.bool_]) -> list[list[Point]]:
    """The rings around the regions of a mask, exactly along its pixels.

    Args:
        mask: (H, W); regions are connected by sides.

    Returns:
        Rings of corners (x, y), x from 0 to W and y from 0 to H, the first corner not repeated. On the screen
        outer rings run clockwise and rings of holes counterclockwise: the signed areas of all (see
        `ring_area`) add up to the number of pixels.
    """
    steps = _edges(mask)
    rings = []
    while steps:
        start = next(iter(steps))
        rings.append(_ring(steps, start))
    return rings


def ring_area(ring: list[Point]) -> float:
    """The area within a ring by the shoelace formula: positive clockwise on the screen (y points down)."""
    points = np.asarray(ring, np.float64)
    following = np.roll(points, -1, axis=0)
    return float((points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]).sum() / 2)


def _edges(mask: npt.NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """From the start of each edge between inside and outside to its directions; inside lies on the right."""
    padded = np.pad(mask.astype(np.int8), 1)
    steps: defaultdict[Point, list[Point]] = defaultdict(list)
    down = padded[1:, 1:-1] - padded[:-1, 1:-1]  # (H + 1, W): the row below less the row above
    across = padded[1:-1, 1:] - padded[1:-1, :-1]  # (H, W + 1)
    for y, x in np.argwhere(down == 1).tolist():
        steps[x, y].append((1, 0))
    for y, x in np.argwhere(down == -1).tolist():
        steps[x + 1, y].append((-1, 0))
    for y, x in np.argwhere(across == 1).tolist():
        steps[x, y + 1].append((0, -1))
    for y, x in np.argwhere(across == -1).tolist():
        steps[x, y].append((0, 1))
    return steps


def _ring(steps: dict[Point, list[Point]], start: Point) -> list[Point]:
    """Walks a ring from a point and takes its edges out of ``steps``."""
    point, corners = start, []
    direction: Point | None = None
    while point in steps:
        ways = steps[point]
        chosen = ways[0] if direction is None else next(w for w in _RIGHT_TURN_FIRST[direction] if w in ways)
        ways.remove(chosen)
        if not ways:
            del steps[point]
        if chosen != direction:
            corners.append(point)
        direction = chosen
        point = (point[0] + chosen[0], point[1] + chosen[1])
        if point == start and (direction is None or point not in steps):
            break
    # The start is a corner only where the ring turns there.
    if len(corners) > 2 and _is_straight(corners[-1], corners[0], corners[1]):
        corners = corners[1:]
    return corners


def _is_straight(before: Point, point: Point, after: Point) -> bool:
    return (before[0] == point[0] == after[0]) or (before[1] == point[1] == after[1])
