"""VOC's average precision by hand and by brute force, and figures by the size of the objects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_detection_metrics import CLASSES, boxes_at, found_of, matched, random_case, target_of

from tao_like.data.boxes.annotation import BoxArrays
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.common.classes.class_scores import ClassScores
from tao_like.tasks.detection.data.dataset import GroundTruth
from tao_like.tasks.detection.metrics.coco import coco_metrics
from tao_like.tasks.detection.metrics.detection import DetectionMetrics
from tao_like.tasks.detection.metrics.voc import average_precision, mean_average_precision


def ranked(*right: bool, objects: int) -> ClassScores:
    """Answers with falling scores."""
    return ClassScores(np.linspace(0.9, 0.1, len(right)), np.array(right, np.bool_), objects)


def test_a_case_worked_out_by_hand() -> None:
    # Precision 1, 1/2, 2/3, 3/4 at recall 1/4, 1/4, 1/2, 3/4; from there on nothing is found.
    predictions = ranked(True, False, True, True, objects=4)
    # At the recalls 0, 0.1, 0.2 the best is 1; at 0.3 ... 0.7 it is 3/4; at 0.8, 0.9, 1 it is 0.
    assert average_precision(predictions, "SAMPLE") == pytest.approx((3 * 1 + 5 * 0.75) / 11)
    assert average_precision(predictions, "INTEGRATE") == pytest.approx(0.25 * 1 + 0.5 * 0.75)


def test_a_recall_that_is_reached_exactly_counts() -> None:
    for found in range(11):
        predictions = ranked(*[True] * found, objects=10)
        assert average_precision(predictions, "SAMPLE") == pytest.approx((found + 1) / 11 if found else 0)


def test_without_objects_there_is_no_figure_and_without_answers_it_is_zero() -> None:
    assert math.isnan(average_precision(ranked(False, objects=0), "INTEGRATE"))
    assert average_precision(ranked(objects=3), "SAMPLE") == 0
    assert mean_average_precision([ranked(False, objects=0), ranked(True, objects=2)], "INTEGRATE") == 0.5
    assert mean_average_precision([ranked(objects=0)], "INTEGRATE") == -1


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_the_mean_over_the_objects_of_the_best_precision_that_finds_so_many(seed: int) -> None:
    draw = np.random.default_rng(seed)
    predictions = ranked(*(draw.random(40) < 0.4), objects=25)
    total = 0.0
    for wanted in range(1, 26):
        prefixes = (predictions.right[:length] for length in range(1, 41))
        total += max((each.mean() for each in prefixes if each.sum() >= wanted), default=0.0)
    assert average_precision(predictions, "INTEGRATE") == pytest.approx(total / 25)


def test_an_answer_whose_object_is_found_already_is_wrong_in_voc_and_may_find_another_in_coco() -> None:
    target = target_of(boxes_at((0, 0), (4, 0)), [0, 0])
    # Both answers lie nearer to the first object: 10/10, 9/11; to the second 6/14 and 7/13.
    predictions = found_of(boxes_at((0, 0), (1, 0)), [0.9, 0.8], [0, 0])
    coco = matched(predictions, target, 1)[0]
    voc = matched(predictions, target, 1, second_choice=False)[0]
    assert (coco.right.tolist(), voc.right.tolist()) == ([True, True], [True, False])
    loose = matched(predictions, target, 1, iou=0.6, second_choice=True)[0]
    assert loose.right.tolist() == [True, False]


def test_the_figure_is_reported_where_it_is_asked_for() -> None:
    preprocessing = ImagePreprocessing(height=100, width=100, resize="squash", crop_pct=1.0)
    for mode, expected in (("none", None), ("SAMPLE", 6 / 11), ("INTEGRATE", 0.5)):
        metrics = DetectionMetrics(["a"], preprocessing, {}, voc_mode=mode)
        target = target_of(boxes_at((0, 0), (40, 0)), [0, 0])
        metrics.update([0], [found_of(boxes_at((0, 0)), [0.9], [0])], [target])
        report = metrics.compute()
        assert report.values.get("voc_mAP") == pytest.approx(expected)
        assert report.details["per_class"]["a"].get("voc_AP") == pytest.approx(expected)


def test_cocos_three_sizes_are_those_of_the_twelve_figures() -> None:
    predictions, targets = random_case(2)
    found = coco_metrics(predictions, targets, len(CLASSES))
    totals, rows = found.totals, {row["size"]: row for row in found.by_size}
    for size in ("small", "medium", "large"):
        assert rows[size]["AP"] == pytest.approx(totals[f"mAP_{size}"], abs=1e-12)
        assert rows[size]["recall"] == pytest.approx(totals[f"AR_{size}"], abs=1e-12)
    assert rows["below 8"] == {"size": "below 8", "objects": 0, "AP": None, "AP50": None, "recall": None}


def test_each_size_has_its_own_row() -> None:
    boxes = np.array([[0, 0, 10, 10], [40, 40, 60, 60]], np.float32)
    arrays = BoxArrays(boxes, np.zeros(2, np.int64), np.zeros(2, bool), np.array([100, 400], np.float32))
    predictions = [found_of(boxes[:1], [0.9], [0])]
    rows = {row["size"]: row for row in coco_metrics(predictions, [GroundTruth(arrays, 100, 100)], 1).by_size}
    assert [rows["8 to 16"][name] for name in ("objects", "AP", "recall")] == [1, 1.0, 1.0]
    assert [rows["16 to 32"][name] for name in ("objects", "AP", "recall")] == [1, 0.0, 0.0]
    assert (rows["small"]["objects"], rows["small"]["recall"]) == (2, 0.5)
