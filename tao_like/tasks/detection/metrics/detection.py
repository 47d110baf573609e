"""Metrics of detection, on the boxes that ship, in pixels of the original images."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.metrics import Metrics, Report
from tao_like.plots.classes import draw_curves, draw_threshold_curves, threshold_curve
from tao_like.plots.confusion import draw_confusion_matrix
from tao_like.runtime.geometry.boxes import letterbox_transform
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.predictions.detections import Detections, score_limits
from tao_like.tasks.common.classes.class_scores import ClassScores, best_f1_threshold
from tao_like.tasks.detection.data.dataset import GroundTruth
from tao_like.tasks.detection.metrics.coco import COCO_NAMES, CocoMetrics, coco_metrics
from tao_like.tasks.detection.metrics.matching import Comparison, Matches
from tao_like.tasks.detection.metrics.voc import average_precision, mean_average_precision

NOTHING = "nothing"
VOC_NAME = "voc_mAP"


class DetectionMetrics(Metrics):
    """Scores boxes against targets. Matching is done image by image, COCO's evaluation once at the end.

    COCO's average precision depends on the order of all boxes, so these are kept as plain arrays.

    Args:
        classes: class names in the order of the numbers.
        preprocessing: by which boxes of the input become boxes of the image.
        thresholds: the stored score thresholds; see ``runtime.predictions.detections``.
        voc_mode: ``SAMPLE`` or ``INTEGRATE``: gives ``voc_mAP`` too; ``none``: does not.
        voc_iou: from which overlap on a box is right for it.
    """

    def __init__(
        self,
        classes: list[str],
        preprocessing: ImagePreprocessing,
        thresholds: dict[str, Any],
        *,
        voc_mode: str = "none",
        voc_iou: float = 0.5,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.preprocessing = preprocessing
        self.limits = score_limits(thresholds, len(classes))
        self.voc_mode = voc_mode
        self.confusion = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
        """(classes + 1, classes + 1): rows are targets, columns predictions, the last of each "nothing"."""
        self._found: list[Detections] = []
        self._targets: list[GroundTruth] = []
        self._matches = Matches(len(classes))
        self._voc = None if voc_mode == "none" else Matches(len(classes), iou=voc_iou, second_choice=False)

    @override
    def reported(self) -> dict[str, bool]:
        return dict.fromkeys([*COCO_NAMES, *([VOC_NAME] if self._voc else [])], True)

    @override
    def add(self, prediction: Detections, target: GroundTruth) -> float:
        """Takes in an image; it is the worse, the more objects are missed and boxes wrong."""
        transform = letterbox_transform(target.width, target.height, self.preprocessing)
        found = Detections(transform.to_image(prediction.boxes), prediction.scores, prediction.labels)
        image = Comparison.of(found, target)
        self._found.append(found)
        self._targets.append(target)
        self._matches.add(image)
        if self._voc:
            self._voc.add(image)
        rows, columns = image.confused(self.limits)
        np.add.at(self.confusion, (rows, columns), 1)
        return float((rows != columns).sum())

    @override
    def merge(self, other: DetectionMetrics) -> None:
        self.confusion += other.confusion
        self._found += other._found
        self._targets += other._targets
        self._matches.merge(other._matches)
        if self._voc and other._voc:
            self._voc.merge(other._voc)

    @override
    def compute(self) -> Report:
        """COCO's twelve metrics, and VOC's where it is asked for."""
        coco = coco_metrics(self._found, self._targets, len(self.classes))
        by_class = self._matches.by_class()
        values, per_class = dict(coco.totals), self._per_class(coco, by_class)
        if self._voc:
            voc = self._voc.by_class()
            values[VOC_NAME] = mean_average_precision(voc, self.voc_mode)
            for name, of_class in zip(self.classes, voc, strict=True):
                per_class[name]["voc_AP"] = plain(average_precision(of_class, self.voc_mode))
        details = {
            "per_class": per_class,
            "per_size": coco.by_size,
            "confusion_matrix": {"names": [*self.classes, NOTHING], "counts": self.confusion.tolist()},
        }
        # The score of each class from which on boxes have the best F1 at overlap 0.5.
        thresholds = {"kind": "per_class", "values": [best_f1_threshold(of_class) for of_class in by_class]}
        return Report(values, details, thresholds, partial(self._draw, by_class))

    def _per_class(self, coco: CocoMetrics, by_class: list[ClassScores]) -> dict[str, dict[str, Any]]:
        """Metrics of each class, over all boxes and of those at its threshold."""
        rows: dict[str, dict[str, Any]] = {}
        for number, (name, of_class) in enumerate(zip(self.classes, by_class, strict=True)):
            precision, recall, f1 = of_class.at(self.limits[number])
            rows[name] = {
                "AP": plain(coco.ap[number]),
                "AP50": plain(coco.ap50[number]),
                "threshold": float(self.limits[number]),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "objects": of_class.objects,
            }
        return rows

    def _draw(self, by_class: list[ClassScores]) -> dict[str, Image.Image]:
        """The confusion matrix, precision over recall, and F1, precision and recall over the threshold."""
        curves = {
            name: (of_class.curve(), of_class.at(limit))
            for name, of_class, limit in zip(self.classes, by_class, self.limits, strict=True)
        }
        by_threshold = {
            name: threshold_curve(of_class.scores, of_class.right, of_class.objects, limit)
            for name, of_class, limit in zip(self.classes, by_class, self.limits, strict=True)
        }
        return {
            "confusion_matrix": draw_confusion_matrix(self.confusion, [*self.classes, NOTHING]),
            "precision_recall": draw_curves(curves),
            "thresholds": draw_threshold_curves(by_threshold),
        }


def plain(value: float) -> float | None:
    """A number for JSON; None where there is none."""
    return None if math.isnan(value) else float(value)
