"""Metrics of class maps: one confusion matrix over all pixels of all photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from typing_extensions import override

from tao_like.contract.metrics import Metrics, Report
from tao_like.data.masks.values import IGNORE, ClassMap
from tao_like.plots.confusion import draw_confusion_matrix
from tao_like.runtime.predictions.mask import row_blocks
from tao_like.tasks.segmentation.data.targets import MaskTarget
from tao_like.tasks.segmentation.metrics.boundary import BOUNDARY_FRACTION, boundary_counts
from tao_like.tasks.segmentation.prediction import Segmented

Counts = npt.NDArray[np.int64]


def confusion_of(predicted: ClassMap, target: ClassMap, num_classes: int) -> Counts:
    """(classes, classes) pixels: rows are targets, columns predictions; ignored pixels are left out."""
    counts = np.zeros(num_classes * num_classes, np.int64)
    for rows in row_blocks(*target.shape):
        is_valid = target[rows] != IGNORE
        pairs = target[rows][is_valid].astype(np.int64) * num_classes + predicted[rows][is_valid]
        counts += np.bincount(pairs, minlength=len(counts))
    return counts.reshape(num_classes, num_classes)


def ious(confusion: Counts) -> npt.NDArray[np.float64]:
    """(classes,) intersection over union; NaN where a class is neither there nor predicted."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


class PixelMetrics(Metrics):
    """Scores class maps at the size of the photos.

    Args:
        classes: class names in order.
        boundary: also score the strips along the edges.
    """

    def __init__(self, classes: list[str], *, boundary: bool) -> None:
        super().__init__()
        self.classes = classes
        self.boundary = boundary
        self.confusion = np.zeros((len(classes), len(classes)), np.int64)
        self.strips = np.zeros((2, len(classes)), np.int64)
        """Intersection and union of the strips along the edges of each class."""

    @override
    def reported(self) -> dict[str, bool]:
        names = ["mIoU", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "dice"]
        return dict.fromkeys([*names, *(["boundary_iou"] if self.boundary else [])], True)

    @override
    def add(self, prediction: Segmented, target: MaskTarget) -> float:
        predicted = prediction.at(target.width, target.height)
        expected = target.classes
        assert expected is not None, "what is scored has its whole mask"
        found = confusion_of(predicted, expected, len(self.classes))
        self.confusion += found
        if self.boundary:
            self.strips += boundary_counts(predicted, expected, len(self.classes))
        of_photo = ious(found)
        return 1 - float(np.nanmean(of_photo)) if np.isfinite(of_photo).any() else 0.0

    @override
    def merge(self, other: PixelMetrics) -> None:
        self.confusion += other.confusion
        self.strips += other.strips

    @override
    def compute(self) -> Report:
        """Figures over all pixels; means over the classes that are there or predicted."""
        confusion = self.confusion
        hits, targets, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        of_classes = ious(confusion)
        accuracy = _ratio(hits, targets)
        dice = _ratio(2 * hits, targets + predicted)
        total = max(int(confusion.sum()), 1)
        values = {
            "mIoU": _mean(of_classes),
            "pixel_accuracy": float(hits.sum() / total),
            "mean_accuracy": _mean(accuracy),
            "frequency_weighted_iou": float(np.nansum(of_classes * targets) / total),
            "dice": _mean(dice),
        }
        strips = _ratio(self.strips[0], self.strips[1])
        if self.boundary:
            values["boundary_iou"] = _mean(strips)
        columns = {
            "iou": of_classes,
            "accuracy": accuracy,
            "precision": _ratio(hits, predicted),
            "dice": dice,
        }
        if self.boundary:
            columns["boundary_iou"] = strips
        details: dict[str, Any] = {
            "per_class": {
                name: {
                    **{key: _plain(column[number]) for key, column in columns.items()},
                    "pixels": int(targets[number]),
                    "share": float(targets[number] / total),
                }
                for number, name in enumerate(self.classes)
            },
            "averaged_classes": [
                name for name, value in zip(self.classes, of_classes, strict=True) if np.isfinite(value)
            ],
            "confusion_matrix": confusion.tolist(),
        }
        if self.boundary:
            details["boundary_share_of_diagonal"] = BOUNDARY_FRACTION
        return Report(values, details, draw=self.draw)

    def draw(self) -> dict[str, Image.Image]:
        """The confusion matrix, in fractions of each class's pixels."""
        return {"confusion_matrix": draw_confusion_matrix(self.confusion, self.classes)}


def _ratio(part: Counts, whole: Counts) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _plain(value: Any) -> float | None:
    """For JSON: None where a class is left out."""
    return float(value) if np.isfinite(value) else None
