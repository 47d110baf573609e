"""Metrics of detection, held against COCO's own code and cases worked out by hand."""

from __future__ import annotations

import contextlib
import io
import pickle
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tao_like.data.boxes.annotation import BoxArrays
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.common.classes.class_scores import ClassScores, best_f1_threshold
from tao_like.tasks.detection.data.dataset import GroundTruth
from tao_like.tasks.detection.metrics.coco import COCO_NAMES, coco_metrics
from tao_like.tasks.detection.metrics.detection import DetectionMetrics
from tao_like.tasks.detection.metrics.matching import Comparison, Matches

CLASSES = ["a", "b", "c"]


def random_case(seed: int, images: int = 20) -> tuple[list[Detections], list[GroundTruth]]:
    """Targets of many sizes, some of them crowds, and answers that are near them or not."""
    draw = np.random.default_rng(seed)
    predictions, targets = [], []
    for image in range(images):
        count = int(draw.integers(0, 9)) * (image > 0)
        corner = draw.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corner, corner + draw.uniform(5, 180, (count, 2))], axis=1).astype(np.float32)
        labels = draw.integers(0, 2 if seed % 2 else 3, count)
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = (sides.prod(axis=1) * draw.uniform(0.5, 1, count)).astype(np.float32)
        targets.append(GroundTruth(BoxArrays(boxes, labels, draw.random(count) < 0.15, areas), 500, 500))
        near = boxes + draw.normal(0, 6, boxes.shape)
        far = draw.uniform(0, 300, (4, 2))
        found = np.concatenate([near, near[:2] + 2, np.concatenate([far, far + 60], axis=1)])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        names = np.concatenate([labels, labels[:2], draw.integers(0, 3, 4)])
        scores = (draw.integers(1, 100, len(found)) / 100).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        predictions.append(Detections(found[order].astype(np.float32), scores[order], names[order]))
    return predictions, targets


def coco_own_figures(predictions: list[Detections], targets: list[GroundTruth]) -> list[float]:
    """The twelve figures of pycocotools, from annotations written out here."""
    annotations, results = [], []
    for image, target in enumerate(targets):
        for box, label, crowd, area in zip(*target.arrays, strict=True):
            left, top, right, bottom = map(float, box)
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": int(label)}
            entry |= {
                "bbox": [left, top, right - left, bottom - top],
                "area": float(area),
                "iscrowd": int(crowd),
            }
            annotations.append(entry)
    for image, found in enumerate(predictions):
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            left, top, right, bottom = map(float, box)
            results.append(
                {
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": [left, top, right - left, bottom - top],
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number, "width": 500, "height": 500} for number in range(len(targets))],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("seed", range(4))
def test_the_twelve_figures_are_those_of_cocos_own_code(seed: int) -> None:
    predictions, targets = random_case(seed)
    figures = coco_metrics(predictions, targets, len(CLASSES))
    assert list(figures.totals) == list(COCO_NAMES)
    assert list(figures.totals.values()) == pytest.approx(coco_own_figures(predictions, targets), abs=1e-12)
    assert np.nanmean(figures.ap) == pytest.approx(figures.totals["mAP"], abs=1e-12)
    assert np.nanmean(figures.ap50) == pytest.approx(figures.totals["mAP50"], abs=1e-12)
    if seed % 2:
        assert np.isnan(figures.ap[2])


def boxes_at(*places: tuple[float, float]) -> np.ndarray:
    """Squares of 10 pixels."""
    return np.array([[x, y, x + 10, y + 10] for x, y in places], np.float32).reshape(-1, 4)


def target_of(boxes: np.ndarray, labels: list[int], crowd: list[bool] | None = None) -> GroundTruth:
    count = len(boxes)
    arrays = BoxArrays(
        boxes,
        np.array(labels, np.int64),
        np.array(crowd or [False] * count, bool),
        np.full(count, 100, np.float32),
    )
    return GroundTruth(arrays, 100, 100)


def found_of(boxes: np.ndarray, scores: list[float], labels: list[int]) -> Detections:
    return Detections(boxes, np.array(scores, np.float32), np.array(labels, np.int64))


def matched(found: Detections, target: GroundTruth, num_classes: int, **how: Any) -> list[ClassScores]:
    """The boxes of one image, class by class."""
    matches = Matches(num_classes, **how)
    matches.add(Comparison.of(found, target))
    return matches.by_class()


def test_nothing_found_and_nothing_there_are_no_errors() -> None:
    nothing = found_of(boxes_at(), [], [])
    empty, one = target_of(boxes_at(), []), target_of(boxes_at((0, 0)), [0])
    assert coco_metrics([nothing], [one], 3).totals["mAP"] == 0
    assert coco_metrics([nothing], [empty], 3).totals["mAP"] == -1
    assert coco_metrics([found_of(boxes_at((0, 0)), [0.5], [1])], [empty], 3).totals["mAP"] == -1


def test_an_object_is_found_once_and_the_best_prediction_gets_it() -> None:
    target = target_of(boxes_at((0, 0), (50, 50)), [0, 0])
    found = found_of(boxes_at((1, 0), (0, 0), (50, 51), (80, 80)), [0.9, 0.8, 0.7, 0.3], [0, 0, 0, 0])
    predictions, other, _ = matched(found, target, 3)
    assert predictions.right.tolist() == [True, False, True, False]
    precision, recall = predictions.curve()
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert recall.tolist() == [0.5, 0.5, 1, 1]
    # F1 over the cuts: 2/3, 1/2, 4/5, 2/3; the best lies between 0.7 and 0.3.
    assert best_f1_threshold(predictions) == pytest.approx(0.5)
    assert predictions.at(0.5) == pytest.approx((2 / 3, 1, 4 / 5))
    assert best_f1_threshold(other) == 0.5


def test_an_answer_on_a_crowd_is_neither_right_nor_wrong() -> None:
    target = target_of(boxes_at((0, 0), (50, 50)), [0, -1], [False, True])
    found = found_of(boxes_at((0, 0), (51, 51), (20, 20)), [0.9, 0.8, 0.7], [0, 0, 0])
    predictions = matched(found, target, 3)[0]
    assert predictions.right.tolist() == [True, False]
    rows, columns = Comparison.of(found, target).confused(np.zeros(3))
    assert len(rows) == len(columns) == 2


def test_the_confusion_matrix_of_a_case_worked_out_by_hand() -> None:
    target = target_of(boxes_at((0, 0), (50, 50), (80, 0)), [0, 1, 2])
    found = found_of(boxes_at((0, 0), (50, 51), (30, 30), (80, 0)), [0.9, 0.8, 0.7, 0.1], [0, 2, 1, 2])
    rows, columns = Comparison.of(found, target).confused(np.array([0.5, 0.5, 0.5]))
    pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert sorted(pairs) == [(0, 0), (1, 2), (2, 3), (3, 1)]


def test_metrics_are_in_pixels_of_the_original_image() -> None:
    preprocessing = ImagePreprocessing(height=50, width=50, resize="letterbox")
    metrics = DetectionMetrics(["a"], preprocessing, {})
    target = GroundTruth(
        BoxArrays(
            np.array([[20, 20, 60, 60]], np.float32),
            np.array([0]),
            np.array([False]),
            np.array([1600], np.float32),
        ),
        200,
        100,
    )
    # 200 x 100 in 50 x 50: a quarter of the size, 12 pixels of border above (12.5 rounded down).
    prediction = found_of(np.array([[5, 17, 15, 27]], np.float32), [0.9], [0])
    metrics.update([0], [prediction], [target])
    report = metrics.compute()
    assert report.values["mAP"] == pytest.approx(1.0)
    assert report.values["mAP_medium"] == pytest.approx(1.0)
    assert report.values["mAP_small"] == -1
    assert report.thresholds == {"kind": "per_class", "values": [pytest.approx(0.45)]}
    assert report.details["per_class"]["a"]["AP50"] == pytest.approx(1.0)
    assert report.draw().keys() == {"confusion_matrix", "precision_recall", "thresholds"}
    assert [index for index, _ in metrics.worst(5)] == [0]


def test_metrics_gathered_from_processes_are_those_of_one() -> None:
    predictions, targets = random_case(1)
    preprocessing = ImagePreprocessing(height=500, width=500, resize="squash", crop_pct=1.0)

    def metrics(which: range) -> DetectionMetrics:
        of_some = DetectionMetrics(CLASSES, preprocessing, {}, voc_mode="INTEGRATE")
        of_some.update(which, [predictions[n] for n in which], [targets[n] for n in which])
        return of_some

    whole = metrics(range(20))
    joined, other, empty = (
        pickle.loads(pickle.dumps(metrics(which))) for which in (range(12), range(12, 20), range(0))
    )
    joined.join(other)
    joined.join(empty)
    assert joined.count == 20
    one, both = whole.compute(), joined.compute()
    assert (one.values, one.details, one.thresholds) == (both.values, both.details, both.thresholds)
    assert one.values["mAP"] == pytest.approx(coco_own_figures(predictions, targets)[0], abs=1e-12)
    assert [index for index, _ in whole.worst(20)] == [index for index, _ in joined.worst(20)]


def test_the_images_with_the_most_faults_are_the_worst_and_of_equal_ones_the_first() -> None:
    preprocessing = ImagePreprocessing(height=100, width=100, resize="squash", crop_pct=1.0)
    nothing = found_of(boxes_at(), [], [])
    faults = DetectionMetrics(CLASSES, preprocessing, {})
    targets = [
        target_of(boxes_at(*[(20 * n, 0) for n in range(count)]), [0] * count) for count in (1, 3, 3, 2)
    ]
    faults.update(range(4), [nothing] * 4, targets)
    assert [index for index, _ in faults.worst(3)] == [1, 2, 3]
