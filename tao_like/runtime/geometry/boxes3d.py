"""Rotated boxes in space: corners, what they have in common, which points lie inside, which to keep.

A box is (x, y, z, dx, dy, dz, yaw): its center of gravity and its sides in metres, and its turn about the
vertical axis in radians, counter-clockwise from the x axis. z points up; ``dx`` lies along the heading.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]

BOX_VALUES = 7
_CORNERS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
"""Front left, rear left, rear right, front right: counter-clockwise seen from above."""


def as_boxes(values: npt.ArrayLike) -> Boxes:
    """The values as (N, 7) float64."""
    boxes: Boxes = np.asarray(values, np.float64).reshape(-1, BOX_VALUES)
    return boxes


def ground_corners(boxes: npt.ArrayLike) -> Boxes:
    """Corners seen from above, (N, 4, 2): front left, rear left, rear right, front right."""
    boxes = as_boxes(boxes)
    local = _CORNERS * boxes[:, None, 3:5]
    cosine, sine = np.cos(boxes[:, 6, None]), np.sin(boxes[:, 6, None])
    x = boxes[:, 0, None] + local[..., 0] * cosine - local[..., 1] * sine
    y = boxes[:, 1, None] + local[..., 0] * sine + local[..., 1] * cosine
    return np.stack([x, y], axis=-1)


def box_corners(boxes: npt.ArrayLike) -> Boxes:
    """The eight corners, (N, 8, 3): the four of ``ground_corners`` at the bottom, then those at the top."""
    boxes = as_boxes(boxes)
    ground = ground_corners(boxes)
    heights = boxes[:, 2, None] + boxes[:, 5, None] * np.array([-0.5, 0.5])
    low, high = (
        np.concatenate([ground, np.repeat(heights[:, None, part : part + 1], 4, axis=1)], axis=2)
        for part in (0, 1)
    )
    return np.concatenate([low, high], axis=1)


def ground_intersections(first: npt.ArrayLike, second: npt.ArrayLike) -> Boxes:
    """Area in square metres that each box of one set has in common with each of another, seen from above.

    By Green's theorem the common area of a polygon and the rectangle of half sides a and b about the origin
    is the integral along the polygon's border of -clamp(y, -b, b) dx where x lies between -a and a. For
    straight edges it has a closed form, without corners to be put in order and without cases for edges that
    coincide: equal boxes have exactly their area in common.

    Args:
        first: (N, 7).
        second: (M, 7).

    Returns:
        (N, M).
    """
    one, other = as_boxes(first), as_boxes(second)
    areas = np.zeros((len(one), len(other)))
    reach = np.hypot(one[:, 3], one[:, 4])[:, None] + np.hypot(other[:, 3], other[:, 4])[None]
    apart = np.hypot(one[:, None, 0] - other[None, :, 0], one[:, None, 1] - other[None, :, 1])
    rows, columns = np.nonzero(apart * 2 < reach)
    if len(rows):
        areas[rows, columns] = _common_areas(one[rows], other[columns])
    return areas


def _common_areas(one: Boxes, other: Boxes) -> Boxes:
    cosine, sine = np.cos(other[:, 6]), np.sin(other[:, 6])
    east, north = one[:, 0] - other[:, 0], one[:, 1] - other[:, 1]
    moved = one.copy()
    # Into the frame of the other box, where that is the rectangle.
    moved[:, 0], moved[:, 1] = east * cosine + north * sine, north * cosine - east * sine
    moved[:, 6] = one[:, 6] - other[:, 6]
    polygon = ground_corners(moved)
    x, y = polygon[..., 0], polygon[..., 1]
    next_x, next_y = np.roll(x, -1, axis=1), np.roll(y, -1, axis=1)
    limit_x, limit_y = other[:, 3:4] / 2, other[:, 4:5] / 2
    start, end = np.clip(x, -limit_x, limit_x), np.clip(next_x, -limit_x, limit_x)
    run = next_x - x
    slope = np.divide(next_y - y, run, out=np.zeros_like(run), where=np.abs(run) > 1e-12)
    mean = _mean_clamped(y + (start - x) * slope, y + (end - x) * slope, limit_y)
    common = -((end - start) * mean).sum(axis=1)
    smaller = np.minimum(one[:, 3] * one[:, 4], other[:, 3] * other[:, 4])
    areas: Boxes = np.clip(common, 0, smaller)
    return areas


def _mean_clamped(first: Boxes, last: Boxes, limit: Boxes) -> Boxes:
    """Mean of clamp(y, -limit, limit) over y from ``first`` to ``last``."""
    low, high = np.minimum(first, last), np.maximum(first, last)
    length = high - low
    inner_low, inner_high = np.clip(low, -limit, limit), np.clip(high, -limit, limit)
    below = np.clip(-limit - low, 0, length)
    above = np.clip(high - limit, 0, length)
    total = limit * (above - below) + (inner_low + inner_high) / 2 * (inner_high - inner_low)
    mean: Boxes = np.divide(total, length, out=inner_low.copy(), where=length > 1e-12)
    return mean


def bev_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> Boxes:
    """Intersection over union seen from above, (N, M)."""
    one, other = as_boxes(first), as_boxes(second)
    common = ground_intersections(one, other)
    areas = (one[:, 3] * one[:, 4])[:, None] + (other[:, 3] * other[:, 4])[None]
    iou: Boxes = common / np.maximum(areas - common, 1e-12)
    return iou


def box_iou_3d(first: npt.ArrayLike, second: npt.ArrayLike) -> Boxes:
    """Intersection over union of the volumes, (N, M)."""
    one, other = as_boxes(first), as_boxes(second)
    top = np.minimum((one[:, 2] + one[:, 5] / 2)[:, None], (other[:, 2] + other[:, 5] / 2)[None])
    bottom = np.maximum((one[:, 2] - one[:, 5] / 2)[:, None], (other[:, 2] - other[:, 5] / 2)[None])
    common = ground_intersections(one, other) * np.maximum(top - bottom, 0)
    volumes = one[:, 3:6].prod(axis=1)[:, None] + other[:, 3:6].prod(axis=1)[None]
    iou: Boxes = common / np.maximum(volumes - common, 1e-12)
    return iou


def keep_best(
    boxes: npt.ArrayLike, scores: npt.ArrayLike, *, iou_threshold: float, limit: int
) -> npt.NDArray[np.int64]:
    """Greedy non-maximum suppression of rotated boxes, whatever their classes.

    Args:
        boxes: (N, 7).
        scores: (N,); those of 0 take no part.
        iou_threshold: a box goes that overlaps a better one by more, seen from above.
        limit: most boxes to keep.

    Returns:
        Indices of the kept boxes, best first.
    """
    boxes, left = as_boxes(boxes), np.array(scores, np.float64)
    kept: list[int] = []
    while len(kept) < limit and left.max(initial=0.0) > 0:
        best = int(left.argmax())
        kept.append(best)
        left[best] = 0
        rivals = np.flatnonzero(left)
        iou = bev_iou(boxes[best : best + 1], boxes[rivals])[0]
        left[rivals[iou > iou_threshold]] = 0
    return np.array(kept, np.int64)


def points_inside(points: npt.NDArray[np.floating], boxes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which points lie in which boxes, borders included.

    Args:
        points: (P, 3 or more) x, y, z first.
        boxes: (M, 7).

    Returns:
        (M, P).
    """
    inside = np.zeros((len(as_boxes(boxes)), len(points)), bool)
    x, y = np.ascontiguousarray(points[:, :2].T)
    for row, box in zip(inside, as_boxes(boxes), strict=True):
        # Few points are near: turn these alone. The margin is for the rounding of float32.
        reach = float(np.hypot(box[3], box[4])) / 2 + 1e-3
        is_near = (np.abs(x - float(box[0])) <= reach) & (np.abs(y - float(box[1])) <= reach)
        near = np.flatnonzero(is_near)
        east, north = points[near, 0] - box[0], points[near, 1] - box[1]
        cosine, sine = np.cos(box[6]), np.sin(box[6])
        row[near] = (
            (np.abs(east * cosine + north * sine) <= box[3] / 2)
            & (np.abs(north * cosine - east * sine) <= box[4] / 2)
            & (np.abs(points[near, 2] - box[2]) <= box[5] / 2)
        )
    return inside


def wrapped(angles: npt.ArrayLike) -> Boxes:
    """Angles in radians brought to -pi up to, not including, pi."""
    values = np.asarray(angles, np.float64)
    turned: Boxes = (values + np.pi) % (2 * np.pi) - np.pi
    return turned


ground_overlaps = bev_iou
overlaps_3d = box_iou_3d
corners = box_corners
"""The names of version 0.1."""
