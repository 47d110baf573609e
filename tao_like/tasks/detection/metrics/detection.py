"""Metrics of detection, on the boxes that ship, in pixels of the original pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.task import Metrics
from tao_like.plots.classes import draw_curves
from tao_like.plots.confusion import draw_confusion_matrix
from tao_like.runtime.geometry.boxes import placement
from tao_like.runtime.inputs.image import ImagePreparation
from tao_like.runtime.predictions.boxes import joined_boxes
from tao_like.runtime.predictions.detections import FoundBoxes, score_limits
from tao_like.runtime.predictions.tiles import Tiling
from tao_like.tasks.common.class_predictions import ClassAnswers, best_f1_cut
from tao_like.tasks.detection.data.dataset import Truth
from tao_like.tasks.detection.metrics.coco import CocoFigures, coco_figures
from tao_like.tasks.detection.metrics.matching import answers_by_class, confusion
from tao_like.tasks.detection.metrics.sizes import figures_by_size
from tao_like.tasks.detection.metrics.voc import average_precision, mean_average_precision

NOTHING = "nothing"
VOC_NAME = "voc_mAP"


class DetectionMetrics(Metrics):
    """Scores boxes against truths.

    Args:
        classes: class names in the order of the numbers.
        preparation: by which boxes of the input become boxes of the picture.
        thresholds: the stored score thresholds; see ``runtime.detection``.
        voc_mode: ``SAMPLE`` or ``INTEGRATE``: gives ``voc_mAP`` too; ``none``: does not.
        voc_overlap: from which on an answer is right for it.
        tiling: how pictures were cut into what the network sees; None: they were not.
    """

    def __init__(
        self,
        classes: list[str],
        preparation: ImagePreparation,
        thresholds: dict[str, Any],
        *,
        voc_mode: str = "none",
        voc_overlap: float = 0.5,
        tiling: Tiling | None = None,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.preparation = preparation
        self.stored_thresholds = thresholds
        self.voc_mode = voc_mode
        self.voc_overlap = voc_overlap
        self.tiling = tiling
        self._joined: list[tuple[int, FoundBoxes, Truth]] | None = None

    @override
    def update(self, indices: Iterable[int], answers: Iterable[FoundBoxes], targets: Iterable[Truth]) -> None:
        super().update(indices, answers, targets)
        self._joined = None

    @override
    def synchronise(self) -> None:
        super().synchronise()
        self._joined = None

    @override
    def reset(self) -> None:
        super().reset()
        self._joined = None

    @property
    def by_picture(self) -> list[tuple[int, FoundBoxes, Truth]]:
        """Number, answer and truth of every picture; what several tiles see appears once."""
        if self.tiling is None:
            return self.collected
        if self._joined is None:
            self._joined = []
            for picture, tiles in groupby(self.collected, lambda item: item[2].picture):
                parts = list(tiles)
                truth = parts[0][2]
                size = (truth.width, truth.height)
                found = joined_boxes([part[1] for part in parts], size, self.preparation, self.tiling)
                self._joined.append((picture, found, truth))
        return self._joined

    @override
    def answered(self) -> list[tuple[int, FoundBoxes]]:
        return [(picture, found) for picture, found, _ in self.by_picture]

    def on_pictures(self) -> tuple[list[FoundBoxes], list[Truth]]:
        """Answers in pixels of the original pictures, and truths."""
        answers, truths = [], []
        for _, found, truth in self.by_picture:
            place = placement(truth.width, truth.height, self.preparation)
            answers.append(FoundBoxes(place.to_picture(found.boxes), found.scores, found.labels))
            truths.append(truth)
        return answers, truths

    def _coco(self) -> CocoFigures:
        return coco_figures(*self.on_pictures(), self.classes)

    def _by_class(self) -> list[ClassAnswers]:
        return answers_by_class(*self.on_pictures(), len(self.classes))

    def _voc(self) -> list[ClassAnswers]:
        return answers_by_class(
            *self.on_pictures(), len(self.classes), overlap=self.voc_overlap, second_choice=False
        )

    def compute(self) -> dict[str, float]:
        """COCO's twelve figures, and VOC's where it is asked for."""
        figures = self._coco().totals
        if self.voc_mode != "none":
            figures[VOC_NAME] = mean_average_precision(self._voc(), self.voc_mode)
        return figures

    def details(self) -> dict[str, Any]:
        """Figures of each class, at its threshold and over all, of each size, and the confusion matrix."""
        figures, by_class = self._coco(), self._by_class()
        limits = score_limits(self.stored_thresholds, len(self.classes))
        per_class: dict[str, Any] = {}
        for number, name in enumerate(self.classes):
            precision, recall, f1 = by_class[number].at(limits[number])
            per_class[name] = {
                "AP": _plain(figures.ap[number]),
                "AP50": _plain(figures.ap50[number]),
                "threshold": float(limits[number]),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "objects": by_class[number].objects,
            }
        if self.voc_mode != "none":
            for name, answers in zip(self.classes, self._voc(), strict=True):
                per_class[name]["voc_AP"] = _plain(average_precision(answers, self.voc_mode))
        matrix = confusion(*self.on_pictures(), limits)
        return {
            "per_class": per_class,
            "per_size": figures_by_size(*self.on_pictures(), len(self.classes)),
            "confusion_matrix": {"names": [*self.classes, NOTHING], "counts": matrix.tolist()},
        }

    def pictures(self) -> dict[str, Image.Image]:
        """The confusion matrix, and precision over recall."""
        limits = score_limits(self.stored_thresholds, len(self.classes))
        matrix = confusion(*self.on_pictures(), limits)
        curves = {
            name: (answers.curve(), answers.at(limit))
            for name, answers, limit in zip(self.classes, self._by_class(), limits, strict=True)
        }
        return {
            "confusion_matrix": draw_confusion_matrix(matrix, [*self.classes, NOTHING]),
            "precision_recall": draw_curves(curves),
        }

    def ranked(self) -> list[int]:
        """Pictures by the number of objects missed and answers wrong at the thresholds, the most first."""
        limits = score_limits(self.stored_thresholds, len(self.classes))
        answers, truths = self.on_pictures()
        faults = []
        for (index, _, _), found, truth in zip(self.by_picture, answers, truths, strict=True):
            matrix = confusion([found], [truth], limits)
            faults.append((int(matrix.sum() - np.trace(matrix)), index))
        return [index for _, index in sorted(faults, key=lambda fault: (-fault[0], fault[1]))]

    def thresholds(self) -> dict[str, Any]:
        """The score of each class from which on answers have the best F1 at overlap 0.5."""
        return {"kind": "per_class", "values": [best_f1_cut(answers) for answers in self._by_class()]}


def _plain(value: float) -> float | None:
    """A number for JSON; None where there is none."""
    return None if math.isnan(value) else float(value)
