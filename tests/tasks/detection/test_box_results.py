"""What detectors on images and in space share: comparing sets of boxes, naming label files."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tao_like.runtime.predictions.boxes3d import Selection3d
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.common.boxes.box_agreement import largest_difference
from tao_like.tasks.common.label_files import label_files
from tao_like.tasks.pointpillars.metrics.agreement import comparison

CAR = [10.0, 5.0, 0.0, 4.0, 2.0, 1.5, 0.5]
FAR = [30.0, -5.0, 0.0, 4.0, 2.0, 1.5, 0.0]


def found(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 7), np.array(scores, np.float32), np.array(labels)
    )


TWO = found([CAR, FAR], [0.9, 0.5], [0, 1])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (found([FAR, CAR], [0.5, 0.9], [1, 0]), 0.0),
        (found([CAR, FAR], [0.9, 0.47], [0, 1]), 0.03),
        # 4 cm of a car of 4 m; a whole turn more is none.
        (found([[10.04, *CAR[1:]], FAR], [0.9, 0.5], [0, 1]), 0.01),
        (found([[*CAR[:6], 0.5 + 2 * math.pi], FAR], [0.9, 0.5], [0, 1]), 0.0),
        (found([CAR], [0.9], [0]), 0.4),
        (found([CAR, FAR], [0.9, 0.5], [0, 0]), 0.4),
    ],
)
def test_boxes_in_space_are_compared_as_sets(other: Detections, expected: float) -> None:
    by = comparison(Selection3d())
    assert largest_difference([TWO], [other], by) == pytest.approx(expected, abs=1e-5)
    assert largest_difference([other], [TWO], by) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("by_class", "expected"), [(False, 0.0), (True, 0.3)])
def test_only_a_rival_excuses_a_box_on_the_edge_of_suppression(by_class: bool, expected: float) -> None:
    # Two boxes of 4 m, 2 m apart along their length: a third in common.
    beside = [12.0, *CAR[1:6], 0.0]
    both = found([[*CAR[:6], 0.0], beside], [0.9, 0.4], [0, 1])
    one = found([[*CAR[:6], 0.0]], [0.9], [0])
    by = comparison(Selection3d(iou_threshold=1 / 3, by_class=by_class))
    assert largest_difference([both], [one], by) == pytest.approx(expected, abs=1e-5)


def test_no_label_file_takes_the_place_of_another() -> None:
    keys = ["one/a.png", "two/a.png", "a_2.png", "three/a.jpg", "clip.mp4#000001", "clip.mp4#000002"]
    texts = label_files((key, [key, "end"]) for key in keys)
    assert texts == {
        "labels/a.txt": "one/a.png\nend\n",
        "labels/a_2.txt": "two/a.png\nend\n",
        "labels/a_2_2.txt": "a_2.png\nend\n",
        "labels/a_3.txt": "three/a.jpg\nend\n",
        "labels/clip.txt": "clip.mp4#000001\nend\n",
        "labels/clip_2.txt": "clip.mp4#000002\nend\n",
    }
