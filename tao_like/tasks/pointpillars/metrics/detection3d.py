"""Metrics of LiDAR detection, on the boxes that ship."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.metrics import Metrics, Report
from tao_like.plots.classes import draw_curves
from tao_like.runtime.predictions.detections import Detections, score_limits
from tao_like.tasks.common.classes.class_scores import ClassScores, best_f1_threshold
from tao_like.tasks.pointpillars.data.dataset import FrameTarget
from tao_like.tasks.pointpillars.metrics.average_precision import Precision
from tao_like.tasks.pointpillars.metrics.frames import ScoredFrame, scored_frame
from tao_like.tasks.pointpillars.metrics.scoring import (
    DISTANCES,
    has_camera,
    kitti_precision,
    mean_of,
    plain_precision,
)

NAMES = (
    "mAP_3d",
    "mAP_bev",
    "mAP_3d_R11",
    "mAP_bev_R11",
    "kitti_3d_moderate",
    "kitti_bev_moderate",
    "kitti_bbox_moderate",
    "kitti_aos_moderate",
)
"""Metrics of a model, 0 to 1; -1 where the data has no such objects."""
_KITTI = {"kitti_3d_moderate": "3d", "kitti_bev_moderate": "bev", "kitti_bbox_moderate": "bbox"}
Plain = dict[str, dict[str, Precision]]
"""Class name and kind of overlap to its average precision."""
Kitti = dict[str, dict[str, dict[str, Precision]]]
"""The same by KITTI's rules: class name, difficulty and kind."""


class PointPillarsMetrics(Metrics):
    """Scores boxes in space against targets. Its state is how the boxes of each frame overlap.

    Args:
        classes: class names in the order of the numbers.
        thresholds: the stored score thresholds; see ``runtime.predictions.boxes3d``.
        rules: ``kitti``, ``plain``, or ``auto``: KITTI's where the data has what they need.
    """

    def __init__(self, classes: list[str], thresholds: dict[str, Any], rules: str) -> None:
        super().__init__()
        self.classes = classes
        self.rules = rules
        self.limits = score_limits(thresholds, len(classes))
        self.frames: list[ScoredFrame] = []

    @override
    def reported(self) -> dict[str, bool]:
        return dict.fromkeys(NAMES, True)

    @override
    def add(self, prediction: Detections, target: FrameTarget) -> float:
        frame = scored_frame(target, prediction, self.classes, with_camera=self.rules != "plain")
        self.frames.append(frame)
        return float(frame.faults(self.limits))

    @override
    def merge(self, other: PointPillarsMetrics) -> None:
        self.frames += other.frames

    @override
    def compute(self) -> Report:
        """``mAP_*``: every object counts, IoU 0.5, as TAO has it; ``kitti_*``: KITTI's, moderate.

        Details are the same of each class, by distance and by difficulty too, and what it comes to at its
        threshold. The thresholds are those of the best F1 at IoU 0.5 from above.
        """
        plain, kitti = self._plain(), self._kitti()
        of_classes = [class_detections(self.frames, label) for label in range(len(self.classes))]
        return Report(
            self._values(plain, kitti),
            {"per_class": self._per_class(plain, kitti, of_classes), "rules": "kitti" if kitti else "plain"},
            {"kind": "per_class", "values": [best_f1_threshold(one) for one in of_classes]},
            partial(self._draw, of_classes),
        )

    def _plain(self, distance: tuple[float, float] | None = None) -> Plain:
        return {
            name: plain_precision(self.frames, label, distance) for label, name in enumerate(self.classes)
        }

    def _kitti(self) -> Kitti:
        if self.rules == "plain" or not self.frames or not has_camera(self.frames):
            return {}
        return kitti_precision(self.frames, self.classes)

    def _values(self, plain: Plain, kitti: Kitti) -> dict[str, float]:
        values = {}
        for kind in ("3d", "bev"):
            values[f"mAP_{kind}"] = mean_of({name: one[kind].r40 for name, one in plain.items()})
            values[f"mAP_{kind}_R11"] = mean_of({name: one[kind].r11 for name, one in plain.items()})
        for name, kind in _KITTI.items():
            values[name] = mean_of({label: one["moderate"][kind].r40 for label, one in kitti.items()})
        aos = {label: one["moderate"]["bbox"].aos40 for label, one in kitti.items()}
        values["kitti_aos_moderate"] = mean_of(aos)
        return {name: values[name] for name in NAMES}

    def _per_class(self, plain: Plain, kitti: Kitti, of_classes: Sequence[ClassScores]) -> dict[str, Any]:
        by_distance = {
            f"{low:g}-{high:g} m": self._plain((low, high)) for low, high in itertools.pairwise(DISTANCES)
        }
        per_class: dict[str, Any] = {}
        for name, detections, limit in zip(self.classes, of_classes, self.limits, strict=True):
            precision, recall, f1 = detections.at(limit)
            per_class[name] = {
                **_by_kind(plain[name]),
                "by_distance": {words: _by_kind(of_range[name]) for words, of_range in by_distance.items()},
                "threshold": float(limit),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "objects": detections.objects,
            }
            if name in kitti:
                per_class[name]["kitti"] = {
                    difficulty: _by_kind(one) for difficulty, one in kitti[name].items()
                }
        return per_class

    def _draw(self, of_classes: Sequence[ClassScores]) -> dict[str, Image.Image]:
        """Precision over recall."""
        curves = {
            name: (detections.curve(), detections.at(limit))
            for name, detections, limit in zip(self.classes, of_classes, self.limits, strict=True)
        }
        return {"precision_recall": draw_curves(curves)}


def class_detections(frames: Sequence[ScoredFrame], label: int) -> ClassScores:
    """The detections of one class in all frames, by descending score."""
    mine = [frame.detected == label for frame in frames]
    pairs = list(zip(frames, mine, strict=True))
    scores = np.concatenate([np.empty(0), *(frame.scores[chosen] for frame, chosen in pairs)])
    hits = np.concatenate([np.empty(0, bool), *(frame.hits[chosen] for frame, chosen in pairs)])
    objects = sum(int((frame.labels == label).sum()) for frame in frames)
    return ClassScores.ordered(scores, hits, objects)


def _by_kind(precisions: dict[str, Precision]) -> dict[str, dict[str, float | None]]:
    return {kind: _shown(one) for kind, one in precisions.items()}


def _shown(one: Precision) -> dict[str, float | None]:
    """Of a class, for JSON; None where there is nothing."""
    values: dict[str, float] = {"AP_R40": one.r40, "AP_R11": one.r11}
    if one.aos40 >= 0:
        values |= {"AOS_R40": one.aos40, "AOS_R11": one.aos11}
    shown: dict[str, float | None] = {name: value if value >= 0 else None for name, value in values.items()}
    return shown | {"objects": one.objects}
