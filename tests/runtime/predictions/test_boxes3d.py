"""Rotated boxes: what they have in common, by hand and counted on a grid; suppression; points inside."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tao_like.runtime.geometry.boxes3d import (
    bev_iou,
    box_iou_3d,
    corners,
    ground_corners,
    ground_intersections,
    keep_best,
    points_inside,
    wrapped,
)


def box(x: float, y: float, length: float, width: float, yaw: float = 0.0, z: float = 0.0) -> list[float]:
    return [x, y, z, length, width, 2.0, yaw]


UNIT = box(0, 0, 2, 2)
OCTAGON = 8 * (math.sqrt(2) - 1)
"""A square of side 2 and itself turned by 45 degrees have a regular octagon of that area in common."""


@pytest.mark.parametrize(
    ("other", "area"),
    [
        (UNIT, 4.0),
        (box(0, 0, 2, 2, math.pi / 2), 4.0),
        (box(0, 0, 2, 2, math.pi), 4.0),
        (box(0, 0, 2, 2, math.pi / 4), OCTAGON),
        (box(1, 0, 2, 2), 2.0),
        (box(1, 1, 2, 2), 1.0),
        (box(2, 0, 2, 2), 0.0),
        (box(5, 5, 2, 2, 0.3), 0.0),
        (box(0, 0, 10, 10, 0.7), 4.0),
        (box(0.3, -0.2, 0.5, 0.4, 1.1), 0.2),
        # A square on its corner, whose left half lies inside.
        (box(1, 0, math.sqrt(2), math.sqrt(2), math.pi / 4), 1.0),
        # A long bar across, turned by 45 degrees: a strip of width 1 through the square.
        (box(0, 0, 100, 1, math.pi / 4), 2 * math.sqrt(2) - 0.5),
        (box(0, 0, 100, 1), 2.0),
    ],
)
def test_common_areas_of_two_boxes(other: list[float], area: float) -> None:
    assert ground_intersections([UNIT], [other])[0, 0] == pytest.approx(area, abs=1e-9)
    assert ground_intersections([other], [UNIT])[0, 0] == pytest.approx(area, abs=1e-9)


def test_equal_boxes_overlap_wholly_wherever_they_stand() -> None:
    random = np.random.default_rng(0)
    boxes = random.uniform([-70, -40, -2, 0.3, 0.3, 0.5, -7], [70, 40, 2, 12, 4, 4, 7], (300, 7))
    assert np.diag(bev_iou(boxes, boxes)) == pytest.approx(1, abs=1e-9)
    assert np.diag(box_iou_3d(boxes, boxes)) == pytest.approx(1, abs=1e-9)
    turned = boxes.copy()
    turned[:, 6] += math.pi
    assert np.diag(bev_iou(boxes, turned)) == pytest.approx(1, abs=1e-9)


def test_areas_agree_with_points_counted_on_a_grid() -> None:
    random = np.random.default_rng(1)
    one = random.uniform([-2, -2, 0, 1, 1, 1, -4], [2, 2, 0.1, 5, 3, 2, 4], (12, 7))
    other = random.uniform([-2, -2, 0, 1, 1, 1, -4], [2, 2, 0.1, 5, 3, 2, 4], (12, 7))
    step = 0.02
    line = np.arange(-6, 6, step) + step / 2
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    grid = np.concatenate([grid, np.full((len(grid), 1), 0.05)], axis=1)
    counted = np.einsum("ip,jp->ij", *(points_inside(grid, part).astype(float) for part in (one, other)))
    assert ground_intersections(one, other) == pytest.approx(counted * step**2, abs=0.06)


def test_a_side_by_side_pair_and_a_stacked_pair_have_nothing_in_common() -> None:
    assert bev_iou([UNIT], [box(2, 0, 2, 2)])[0, 0] == 0
    stacked = box(0, 0, 2, 2, z=2.0)
    assert bev_iou([UNIT], [stacked])[0, 0] == pytest.approx(1)
    assert box_iou_3d([UNIT], [stacked])[0, 0] == 0
    # Half as high above: a common third, since volumes are 8 each and 4 are common.
    assert box_iou_3d([UNIT], [box(0, 0, 2, 2, z=1.0)])[0, 0] == pytest.approx(4 / 12)


def test_corners_go_round_from_the_front_left() -> None:
    turned = [10.0, 5.0, 1.0, 4.0, 2.0, 3.0, math.pi / 2]
    # Heading along y: the front is at y = 7, its left at x = 9.
    assert ground_corners([turned])[0] == pytest.approx(np.array([[9, 7], [9, 3], [11, 3], [11, 7]]))
    assert corners([turned])[0, :, 2] == pytest.approx([-0.5] * 4 + [2.5] * 4)


def test_suppression_keeps_the_best_of_each_heap() -> None:
    boxes = [box(0, 0, 4, 2), box(0.5, 0, 4, 2, 0.1), box(10, 0, 4, 2), box(10, 1.9, 4, 2), box(20, 0, 4, 2)]
    scores = [0.5, 0.9, 0.8, 0.7, 0.0]
    assert keep_best(boxes, scores, iou_threshold=0.3, limit=10).tolist() == [1, 2, 3]
    assert keep_best(boxes, scores, iou_threshold=0.01, limit=10).tolist() == [1, 2]
    assert keep_best(boxes, scores, iou_threshold=0.3, limit=2).tolist() == [1, 2]
    assert keep_best(np.empty((0, 7)), [], iou_threshold=0.3, limit=2).tolist() == []


def test_a_chain_is_suppressed_link_by_link() -> None:
    """The second goes with the first, so it cannot take the third with it."""
    boxes = [box(number * 2.0, 0, 4, 2) for number in range(7)]
    scores = [1 - number / 10 for number in range(7)]
    assert keep_best(boxes, scores, iou_threshold=0.2, limit=10).tolist() == [0, 2, 4, 6]


def test_points_lie_in_a_turned_box() -> None:
    boxes = [[1.0, 1.0, 0.0, 4.0, 1.0, 2.0, math.pi / 4]]
    along = math.sqrt(0.5)
    points = np.array(
        [[1 + along * 1.9, 1 + along * 1.9, 0], [1 + along * 1.9, 1 - along * 1.9, 0], [1, 1, 1.1]],
        np.float32,
    )
    assert points_inside(points, boxes).tolist() == [[True, False, False]]


def test_angles_are_wrapped() -> None:
    assert wrapped([0, math.pi, -math.pi, 3.5, 2 * math.pi + 0.1]) == pytest.approx(
        [0, -math.pi, -math.pi, 3.5 - 2 * math.pi, 0.1]
    )
