"""From a LiDAR detector's outputs to boxes in space: the one rule, for inference and runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.runtime.geometry.boxes3d import keep_best, wrapped
from tao_like.runtime.inputs.points import PointsPreprocessing
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction, PredictionReader
from tao_like.runtime.predictions.detections import (
    Detections,
    Meanings,
    check_metadata,
    score_limits,
    split_boxes,
    stated_selection,
)

MEANINGS = Meanings(
    boxes="boxes_3d",
    scores="box_3d_scores",
    labels="box_3d_labels",
    count="box_3d_count",
    all_boxes="all_boxes_3d",
    all_scores="all_box_3d_scores",
)
"""Boxes (K, 7) are x, y, z of the center, dx, dy, dz in metres, yaw in radians; scores and labels (K,)."""


@dataclass(frozen=True)
class Detection3d:
    """One object that was found.

    Attributes:
        label: its class.
        score: 0 to 1.
        box: x, y, z of its center of gravity, length, width, height in metres, yaw in radians.
    """

    label: str
    score: float
    box: tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Boxes3dPrediction(Prediction):
    """What a LiDAR detector says about one frame.

    Attributes:
        detections: what was found, by descending score.
    """

    detections: tuple[Detection3d, ...] = ()


@dataclass(frozen=True)
class Selection3d:
    """Which of a network's boxes are kept.

    Attributes:
        score_threshold: boxes below this score are dropped.
        iou_threshold: non-maximum suppression drops a box that overlaps a better one by more, from above.
        limit: most boxes of a frame.
        candidates: most boxes of a frame that suppression looks at, the best ones.
        by_class: boxes of different classes do not suppress each other.
    """

    score_threshold: float = 0.1
    iou_threshold: float = 0.01
    limit: int = 500
    candidates: int = 4096
    by_class: bool = False


def read_detections(outputs: Outputs, selection: Selection3d) -> list[Detections]:
    """Splits a batch's outputs into the boxes of each frame.

    Args:
        outputs: by meaning, frames in front; suppression is applied to those of a file without.
        selection: for these.

    Raises:
        BundleError: an output holds values that are not finite.
    """
    return split_boxes(outputs, MEANINGS, partial(select, selection=selection))


def select(
    boxes: npt.NDArray[np.float32], class_scores: npt.NDArray[np.float32], selection: Selection3d
) -> Detections:
    """Each box with its best class; the best of these after suppression.

    Args:
        boxes: (A, 7).
        class_scores: (A, classes).
        selection: what to keep.
    """
    labels = class_scores.argmax(axis=1)
    best = class_scores.max(axis=1)
    order = np.argsort(-best, kind="stable")[: selection.candidates]
    order = order[best[order] >= selection.score_threshold]
    apart = boxes[order].astype(np.float64)
    if selection.by_class:
        apart[:, 0] += labels[order] * CLASS_DISTANCE
    positions = keep_best(apart, best[order], iou_threshold=selection.iou_threshold, limit=selection.limit)
    kept = order[positions]
    return Detections(boxes[kept], best[kept], labels[kept].astype(np.int64))


CLASS_DISTANCE = 1000.0
"""Metres by which boxes of different classes are moved apart where they do not suppress each other."""


def decide(
    found: Detections, classes: Sequence[str], thresholds: Mapping[str, Any]
) -> tuple[Detection3d, ...]:
    """The boxes that reach the threshold of their class.

    Args:
        found: of one frame.
        classes: class names in the order of the numbers.
        thresholds: ``{"kind": "per_class", "values": [t, ...]}``, or empty: 0.3 for each.

    Raises:
        BundleError: the thresholds do not fit.
    """
    limits = score_limits(thresholds, len(classes))
    return tuple(
        Detection3d(classes[label], float(score), _upright(box))
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
        if score >= limits[label]
    )


def _upright(box: npt.NDArray[np.float32]) -> tuple[float, float, float, float, float, float, float]:
    """The values of a box, its yaw between -pi and pi."""
    x, y, z, length, width, height, yaw = (float(value) for value in box)
    return x, y, z, length, width, height, float(wrapped(yaw))


class Boxes3dReader(PredictionReader):
    """Reads a LiDAR detector's predictions."""

    kind = Boxes3dPrediction

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without classes, or with odd outputs, thresholds or preprocessing."""
        check_metadata(metadata, MEANINGS, "a LiDAR detector")
        stated_selection(metadata.extra, Selection3d)
        PointsPreprocessing.from_dict(metadata.input_of("points").preprocessing)

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Boxes3dPrediction]:
        """Return the detections of each frame."""
        del sizes
        by_meaning = {meaning: outputs[name] for name, meaning in metadata.outputs.items()}
        return [
            Boxes3dPrediction(source=source, detections=decide(found, metadata.classes, metadata.thresholds))
            for found, source in zip(
                read_detections(by_meaning, stated_selection(metadata.extra, Selection3d)),
                sources,
                strict=True,
            )
        ]


Detection3dAnswer = Boxes3dPrediction
"""The name of `Boxes3dPrediction` in version 0.1."""
Detection3dReader = Boxes3dReader
