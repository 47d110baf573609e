"""Metrics of LiDAR detection, on the boxes that ship."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tao_like.contract.task import Metrics
from tao_like.plots.classes import draw_curves
from tao_like.runtime.predictions.detections import FoundBoxes, score_limits
from tao_like.tasks.common.class_predictions import ClassAnswers, best_f1_cut
from tao_like.tasks.pointpillars.data.dataset import Truth
from tao_like.tasks.pointpillars.metrics.average_precision import Precision
from tao_like.tasks.pointpillars.metrics.scoring import (
    DISTANCES,
    Overlaps,
    frame_overlaps,
    has_camera,
    kitti_precision,
    mean_of,
    plain_precision,
    right_answers,
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
"""Figures of a model, 0 to 1; -1 where the data has no such objects."""
_KITTI = {"kitti_3d_moderate": "3d", "kitti_bev_moderate": "bev", "kitti_bbox_moderate": "bbox"}


@dataclass(frozen=True)
class _Frames:
    truths: list[Truth]
    answers: list[FoundBoxes]


class PointPillarsMetrics(Metrics):
    """Scores boxes in space against truths.

    Args:
        classes: class names in the order of the numbers.
        thresholds: the stored score thresholds; see ``runtime.detection``.
        rules: ``kitti``, ``plain``, or ``auto``: KITTI's where the data has what they need.
    """

    def __init__(self, classes: list[str], thresholds: dict[str, Any], rules: str) -> None:
        super().__init__()
        self.classes = classes
        self.stored_thresholds = thresholds
        self.rules = rules

    def _frames(self) -> _Frames:
        return _Frames([truth for _, _, truth in self.collected], [answer for _, answer, _ in self.collected])

    def _overlaps(self) -> list[Overlaps]:
        frames = self._frames()
        pairs = zip(frames.truths, frames.answers, strict=True)
        return self.once("overlaps", lambda: [frame_overlaps(*pair) for pair in pairs])

    def _plain(self, distance: tuple[float, float] | None = None) -> dict[str, dict[str, Precision]]:
        frames = self._frames()

        def work() -> dict[str, dict[str, Precision]]:
            return {
                name: plain_precision(frames.truths, frames.answers, self._overlaps(), label, distance)
                for label, name in enumerate(self.classes)
            }

        return self.once(f"plain {distance}", work)

    def _kitti(self) -> dict[str, dict[str, dict[str, Precision]]]:
        frames = self._frames()
        if self.rules == "plain" or not frames.truths or not has_camera(frames.truths):
            return {}
        return self.once("kitti", lambda: kitti_precision(frames.truths, frames.answers, self.classes))

    def compute(self) -> dict[str, float]:
        """``mAP_*``: every object counts, overlap 0.5, as TAO has it; ``kitti_*``: KITTI's, moderate."""
        plain, kitti = self._plain(), self._kitti()
        figures = {}
        for kind in ("3d", "bev"):
            figures[f"mAP_{kind}"] = mean_of({name: one[kind].r40 for name, one in plain.items()})
            figures[f"mAP_{kind}_R11"] = mean_of({name: one[kind].r11 for name, one in plain.items()})
        for name, kind in _KITTI.items():
            figures[name] = mean_of({label: one["moderate"][kind].r40 for label, one in kitti.items()})
        aos = {label: one["moderate"]["bbox"].aos40 for label, one in kitti.items()}
        figures["kitti_aos_moderate"] = mean_of(aos)
        return {name: figures[name] for name in NAMES}

    def details(self) -> dict[str, Any]:
        """Figures of each class: plainly, by distance, by KITTI's rules, and at the threshold."""
        limits = score_limits(self.stored_thresholds, len(self.classes))
        plain, kitti = self._plain(), self._kitti()
        by_distance = {
            f"{low:g}-{high:g} m": self._plain((low, high)) for low, high in itertools.pairwise(DISTANCES)
        }
        per_class: dict[str, Any] = {}
        for name, answers, limit in zip(self.classes, self._by_class(), limits, strict=True):
            precision, recall, f1 = answers.at(limit)
            per_class[name] = {
                **{kind: _figures(one) for kind, one in plain[name].items()},
                "by_distance": {
                    words: {kind: _figures(one) for kind, one in figures[name].items()}
                    for words, figures in by_distance.items()
                },
                "threshold": float(limit),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "objects": answers.objects,
            }
            if name in kitti:
                per_class[name]["kitti"] = {
                    difficulty: {kind: _figures(one) for kind, one in figures.items()}
                    for difficulty, figures in kitti[name].items()
                }
        return {"per_class": per_class, "rules": "kitti" if kitti else "plain"}

    def _by_class(self) -> list[ClassAnswers]:
        frames = self._frames()

        def of(label: int) -> ClassAnswers:
            pairs = zip(frames.truths, frames.answers, strict=True)
            return joined_answers([right_answers(truth, found, label) for truth, found in pairs])

        return self.once("by class", lambda: [of(label) for label in range(len(self.classes))])

    def pictures(self) -> dict[str, Image.Image]:
        """Precision over recall."""
        limits = score_limits(self.stored_thresholds, len(self.classes))
        curves = {
            name: (answers.curve(), answers.at(limit))
            for name, answers, limit in zip(self.classes, self._by_class(), limits, strict=True)
        }
        return {"precision_recall": draw_curves(curves)}

    def ranked(self) -> list[int]:
        """Indices by the number of objects missed and answers wrong at the thresholds, the most first."""
        limits = score_limits(self.stored_thresholds, len(self.classes))
        faults = []
        for index, found, truth in self.collected:
            count = 0
            for label, limit in enumerate(limits):
                scores, right, objects = right_answers(truth, found, label)
                hits = int(right[scores >= limit].sum())
                count += objects + int((scores >= limit).sum()) - 2 * hits
            faults.append((count, index))
        return [index for _, index in sorted(faults, key=lambda fault: (-fault[0], fault[1]))]

    def thresholds(self) -> dict[str, Any]:
        """The score of each class from which on answers have the best F1 at overlap 0.5 from above."""
        return {"kind": "per_class", "values": [best_f1_cut(answers) for answers in self._by_class()]}


def joined_answers(parts: Sequence[tuple[Any, Any, int]]) -> ClassAnswers:
    """The answers of one class in all frames, surest first."""
    scores = np.concatenate([np.empty(0), *(part[0] for part in parts)])
    right = np.concatenate([np.empty(0, bool), *(part[1] for part in parts)])
    return ClassAnswers.ordered(scores, right, sum(part[2] for part in parts))


def _figures(one: Precision) -> dict[str, float | None]:
    """Of a class, for JSON; None where there is nothing."""
    values: dict[str, float] = {"AP_R40": one.r40, "AP_R11": one.r11}
    if one.aos40 >= 0:
        values |= {"AOS_R40": one.aos40, "AOS_R11": one.aos11}
    shown: dict[str, float | None] = {name: value if value >= 0 else None for name, value in values.items()}
    return shown | {"objects": one.objects}
