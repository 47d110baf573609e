"""How far two sets of boxes are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.runtime.predictions.detections import Detections

CLOSE_IOU = 1e-3
"""Overlaps so near the threshold of suppression may fall on either side of it."""
SAME_BOX = 0.9
"""Intersection over union from which on two boxes are taken for the same."""
Boxes = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """By what boxes are compared.

    Attributes:
        score_threshold: boxes below this score were dropped.
        iou_threshold: a box was dropped that overlaps a better one by more.
        limit: most boxes of a sample.
        by_class: boxes of different classes did not suppress each other.
        box_iou: intersection over union of every box (N, V) with every other (M, V), as (N, M).
        moved: how far a box (V,) is from its counterpart.
    """

    score_threshold: float
    iou_threshold: float
    limit: int
    by_class: bool
    box_iou: Callable[[Boxes, Boxes], Boxes]
    moved: Callable[[Boxes, Boxes], float]


def largest_difference(
    expected: Sequence[Detections], actual: Sequence[Detections], comparison: Comparison
) -> float:
    """The largest difference of a score or of a box over all samples.

    Detections are compared as sets, since equal scores may change their order: each finds its counterpart by
    class and overlap. One without a counterpart counts by how far its score lies above what a detection needs
    at least, so that a box on the edge of the threshold is no disagreement; or not at all where its overlap
    with a better box is within 0.001 of the threshold of suppression.

    Args:
        expected: one a sample.
        actual: likewise.
        comparison: how both were made, and how boxes are measured.
    """
    pairs = zip(expected, actual, strict=True)
    return max((_of_sample(one, other, comparison) for one, other in pairs), default=0.0)


def _of_sample(one: Detections, other: Detections, by: Comparison) -> float:
    ious = by.box_iou(one.boxes, other.boxes) * (one.labels[:, None] == other.labels[None, :])
    free = np.ones(len(other), bool)
    worst = 0.0
    for index in range(len(one)):
        open_ious = np.where(free, ious[index], 0.0)
        match = int(open_ious.argmax()) if len(open_ious) else -1
        if match < 0 or open_ious[match] < SAME_BOX:
            worst = max(worst, _excess(one, index, by))
            continue
        free[match] = False
        score = abs(float(one.scores[index] - other.scores[match]))
        worst = max(worst, score, by.moved(one.boxes[index], other.boxes[match]))
    return max([worst, *(_excess(other, int(index), by) for index in np.flatnonzero(free))])


def _excess(found: Detections, index: int, by: Comparison) -> float:
    """How far a detection lies above what it needed to be one."""
    needed = by.score_threshold
    if len(found) == by.limit:
        needed = max(needed, float(found.scores.min()))
    is_rival = found.scores >= found.scores[index]
    if by.by_class:
        is_rival &= found.labels == found.labels[index]
    rivals = by.box_iou(found.boxes[index : index + 1], found.boxes)[0][is_rival]
    if (np.abs(rivals - by.iou_threshold) < CLOSE_IOU).any():
        return 0.0
    return float(found.scores[index]) - needed
