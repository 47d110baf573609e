"""Which answers are right: at an overlap of one half, each object is found once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tao_like.runtime.geometry.boxes import box_areas, overlaps
from tao_like.runtime.predictions.detections import FoundBoxes
from tao_like.tasks.common.class_predictions import ClassAnswers
from tao_like.tasks.detection.data.dataset import Truth

OVERLAP = 0.5
"""Intersection over union from which on an answer is right."""


def answers_by_class(
    answers: Sequence[FoundBoxes],
    truths: Sequence[Truth],
    class_count: int,
    *,
    overlap: float = OVERLAP,
    second_choice: bool = True,
) -> list[ClassAnswers]:
    """Holds all answers against the truths, class by class.

    An answer that finds nothing but lies on a crowd or a region to ignore is neither right nor wrong.

    Args:
        answers: one a picture.
        truths: likewise.
        class_count: number of classes.
        overlap: from which on an answer is right.
        second_choice: an answer whose object is found already may find another, as in COCO; False: it is
            wrong, as in VOC.
    """
    scores: list[list[float]] = [[] for _ in range(class_count)]
    right: list[list[bool]] = [[] for _ in range(class_count)]
    objects = np.zeros(class_count, int)
    for found, truth in zip(answers, truths, strict=True):
        arrays = truth.arrays
        objects += np.bincount(arrays.labels[~arrays.crowd], minlength=class_count)
        for number in np.unique(found.labels):
            of_class = found.labels == number
            is_right, is_ignored = _matched(found.boxes[of_class], truth, int(number), overlap, second_choice)
            scores[number] += found.scores[of_class][~is_ignored].tolist()
            right[number] += is_right[~is_ignored].tolist()
    return [
        ClassAnswers.ordered(np.asarray(score, np.float64), np.asarray(hit, np.bool_), int(count))
        for score, hit, count in zip(scores, right, objects, strict=True)
    ]


def _matched(
    boxes: npt.NDArray[np.float32], truth: Truth, number: int, overlap: float, second_choice: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For the boxes of a class on a picture, surest first: which are right, and which do not count."""
    arrays = truth.arrays
    real = arrays.select(~arrays.crowd & (arrays.labels == number))
    crowds = arrays.select(arrays.crowd & ((arrays.labels == number) | (arrays.labels < 0)))
    shares = overlaps(boxes, real.boxes)
    free = np.ones(len(real.boxes), np.bool_)
    right = np.zeros(len(boxes), np.bool_)
    for place in range(len(boxes)):
        open_shares = np.where(free, shares[place], 0) if second_choice else shares[place]
        best = int(open_shares.argmax()) if len(open_shares) else -1
        if best >= 0 and open_shares[best] >= overlap and free[best]:
            free[best] = False
            right[place] = True
    return right, ~right & _on_crowd(boxes, crowds.boxes)


def _on_crowd(boxes: npt.NDArray[np.float32], crowds: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether half of a box or more lies on one crowd."""
    if not len(crowds):
        return np.zeros(len(boxes), np.bool_)
    sides = np.minimum(boxes[:, None, 2:], crowds[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], crowds[None, :, :2]
    )
    common = np.clip(sides, 0, None).prod(axis=2)
    covered: npt.NDArray[np.bool_] = (common / np.maximum(box_areas(boxes), 1e-9)[:, None] >= OVERLAP).any(
        axis=1
    )
    return covered


def confusion(
    answers: Sequence[FoundBoxes],
    truths: Sequence[Truth],
    cuts: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Counts (classes + 1, classes + 1): rows are truths, columns answers, the last of each is "nothing".

    Answers at or above the cut of their class are matched with objects of any class, the largest overlap
    first.
    """
    count = len(cuts)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    for found, truth in zip(answers, truths, strict=True):
        real = truth.arrays.select(~truth.arrays.crowd)
        crowds = truth.arrays.select(truth.arrays.crowd)
        sure = found.scores >= cuts[found.labels]
        boxes, labels = found.boxes[sure], found.labels[sure]
        shares = overlaps(boxes, real.boxes)
        pairs = np.argwhere(shares >= OVERLAP)
        order = np.argsort(-shares[tuple(pairs.T)], kind="stable")
        used_boxes, used_objects = set(), set()
        for box, item in pairs[order].tolist():
            if box not in used_boxes and item not in used_objects:
                used_boxes.add(box)
                used_objects.add(item)
                matrix[real.labels[item], labels[box]] += 1
        on_crowd = _on_crowd(boxes, crowds.boxes)
        for box in range(len(boxes)):
            if box not in used_boxes and not on_crowd[box]:
                matrix[count, labels[box]] += 1
        for item in range(len(real.labels)):
            if item not in used_objects:
                matrix[real.labels[item], count] += 1
    return matrix
