"""Metrics of tasks that tell one class of a sample, on the probabilities that ship."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from typing_extensions import override

from tao_like.contract.metrics import Metrics, Report
from tao_like.plots.confusion import draw_confusion_matrix

REJECTION_THRESHOLDS = np.linspace(0, 1, 101)
CALIBRATION_BINS = 15
"""As Guo et al. 2017 ("On Calibration of Modern Neural Networks") bin them."""


class Calibration:
    """The expected calibration error: how far confidence and accuracy are apart, bin by bin (Guo, eq. 3)."""

    def __init__(self) -> None:
        self._edges = np.linspace(0, 1, CALIBRATION_BINS + 1, dtype=np.float32)
        # One bin more, for a confidence of exactly 1.
        self._counts, self._confidences, self._hits = np.zeros((3, CALIBRATION_BINS + 1))

    def add(self, confidences: npt.NDArray[np.floating], hits: npt.NDArray[Any]) -> None:
        """Takes in (N,) confidences, 0 to 1, and whether each was right."""
        bins = np.searchsorted(self._edges, confidences, side="right") - 1
        for total, weights in ((self._counts, None), (self._confidences, confidences), (self._hits, hits)):
            total += np.bincount(bins, weights, CALIBRATION_BINS + 1)

    def merge(self, other: Calibration) -> None:
        """Takes in what another has."""
        self._counts += other._counts
        self._confidences += other._confidences
        self._hits += other._hits

    def error(self) -> float:
        """The mean distance over all that was taken in; 0 where that is nothing."""
        return float(np.abs(self._hits - self._confidences).sum() / max(self._counts.sum(), 1))


class ClassMetrics(Metrics):
    """Scores rows of probabilities against class numbers. Its state is counts: of classes, bins, thresholds.

    Args:
        classes: class names in the order of the columns.
        topk: the k of the top-k accuracies; those above the number of classes are left out.
        thresholds: the stored threshold of rejection; see ``runtime.predictions.classes``.
    """

    def __init__(self, classes: list[str], topk: list[int], thresholds: dict[str, Any]) -> None:
        super().__init__()
        self.classes = classes
        self.topk = sorted({k for k in topk if 1 < k <= len(classes)})
        self.stored_threshold = float(thresholds.get("value", -np.inf))
        self.confusion = np.zeros((len(classes), len(classes)), np.int64)
        """(classes, classes): rows are targets, columns predictions."""
        self._topk_hits = np.zeros(len(self.topk), np.int64)
        self._calibration = Calibration()
        self._rejected = 0
        self._below = np.zeros((2, len(REJECTION_THRESHOLDS)), np.int64)
        """Wrong and right predictions below each threshold of rejection."""

    @override
    def reported(self) -> dict[str, bool]:
        higher = ("accuracy", *(f"top{k}_accuracy" for k in self.topk), "precision", "recall", "f1")
        return {**dict.fromkeys(higher, True), "calibration_error": False}

    @override
    def add(self, prediction: npt.NDArray[np.floating], target: Any) -> float:
        number = int(target)
        predicted = int(prediction.argmax())
        score = prediction[predicted]
        self.confusion[number, predicted] += 1
        self._below[int(predicted == number)] += score < REJECTION_THRESHOLDS
        self._rejected += bool(score < self.stored_threshold)
        self._calibration.add(np.atleast_1d(score), np.atleast_1d(predicted == number))
        if self.topk:
            # Of equal probabilities the first class wins, as in the decision.
            rank = int(
                (prediction > prediction[number]).sum() + (prediction[:number] == prediction[number]).sum()
            )
            self._topk_hits += rank < np.array(self.topk)
        others = np.delete(prediction, number)
        return float(others.max(initial=0.0) - prediction[number])

    @override
    def merge(self, other: ClassMetrics) -> None:
        self.confusion += other.confusion
        self._topk_hits += other._topk_hits
        self._calibration.merge(other._calibration)
        self._rejected += other._rejected
        self._below += other._below

    @override
    def compute(self) -> Report:
        """Accuracy, top-k, macro averages over the classes that occur, and calibration."""
        hits = np.diag(self.confusion)
        by_class = class_scores(hits, self.confusion.sum(axis=0), self.confusion.sum(axis=1))
        count = max(self.count, 1)
        # As scikit-learn: a class that is neither a target nor predicted has no say in the average.
        occurs = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) > 0
        values = {"accuracy": float(hits.sum() / count)}
        values |= {
            f"top{k}_accuracy": float(hit / count) for k, hit in zip(self.topk, self._topk_hits, strict=True)
        }
        values |= {
            name: float(column[occurs].mean()) if occurs.any() else 0.0 for name, column in by_class.items()
        }
        values["calibration_error"] = self._calibration.error()
        details = {
            "per_class": per_class(self.classes, by_class, self.confusion.sum(axis=1)),
            "confusion_matrix": self.confusion.tolist(),
            "rejected_share": self._rejected / count,
        }
        return Report(values, details, {"kind": "reject", "value": self._rejection_threshold()}, self.draw)

    def _rejection_threshold(self) -> float:
        """The highest probability below which a prediction is rather wrong than right, 0 if there is none.

        Rejecting pays where it removes more wrong predictions than right ones: the threshold maximizes
        (wrong rejected - right rejected), in steps of 0.01, and is the lowest of equals.
        """
        wrong, right = self._below
        return round(float(REJECTION_THRESHOLDS[int(np.argmax(wrong - right))]), 2)

    def draw(self) -> dict[str, Image.Image]:
        """The confusion matrix."""
        return {"confusion_matrix": draw_confusion_matrix(self.confusion, self.classes)}


def class_scores(
    hits: npt.NDArray[Any], predicted: npt.NDArray[Any], targets: npt.NDArray[Any]
) -> dict[str, npt.NDArray[np.float64]]:
    """Precision, recall and F1 of each class, 0 where undefined, from (classes,) counts."""
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(targets, 1),
        "f1": 2 * hits / np.maximum(predicted + targets, 1),
    }


def per_class(
    classes: list[str], scores: dict[str, npt.NDArray[np.float64]], samples: npt.NDArray[Any]
) -> dict[str, dict[str, float]]:
    """The scores by class name, with the number of samples."""
    columns = scores | {"samples": samples}
    return {
        label: {name: float(column[number]) for name, column in columns.items()}
        for number, label in enumerate(classes)
    }
