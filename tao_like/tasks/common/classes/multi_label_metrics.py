"""Metrics of tasks that tell any number of classes of a sample, on the probabilities that ship."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from tao_like.contract.metrics import Metrics, Report
from tao_like.tasks.common.classes.class_metrics import Calibration, class_scores, per_class
from tao_like.tasks.common.classes.class_scores import DEFAULT_THRESHOLD, ClassScores, best_f1_threshold


class MultiLabelMetrics(Metrics):
    """Scores rows of probabilities against rows of 0 and 1.

    Average precision and the best threshold of a class depend on the order of all its scores, so those are
    kept: five bytes a class and sample.

    Args:
        classes: class names in the order of the columns.
        thresholds: the stored threshold of each class; see ``runtime.predictions.classes``.
    """

    def __init__(self, classes: list[str], thresholds: dict[str, Any]) -> None:
        super().__init__()
        self.classes = classes
        self.limits = np.array(thresholds.get("values") or [DEFAULT_THRESHOLD] * len(classes))
        self._calibration = Calibration()
        self._scores: list[npt.NDArray[np.float32]] = []
        self._targets: list[npt.NDArray[np.bool_]] = []
        self._exact = 0

    @override
    def reported(self) -> dict[str, bool]:
        higher = ("accuracy", "exact_match", "mean_average_precision", "precision", "recall", "f1")
        return {**dict.fromkeys(higher, True), "calibration_error": False}

    @override
    def add(self, prediction: npt.NDArray[np.floating], target: Any) -> float:
        is_positive = np.asarray(target) > 0
        self._scores.append(prediction.astype(np.float32))
        self._targets.append(is_positive)
        self._exact += bool(((prediction >= self.limits) == is_positive).all())
        self._calibration.add(prediction, is_positive)
        return -float(np.where(is_positive, prediction, 1 - prediction).min())

    @override
    def merge(self, other: MultiLabelMetrics) -> None:
        self._scores += other._scores
        self._targets += other._targets
        self._exact += other._exact
        self._calibration.merge(other._calibration)

    @override
    def compute(self) -> Report:
        """Fraction of labels told rightly, exact matches, mean AP, macro averages and calibration."""
        # Not at the top: this imports transformers where that is installed, which takes seconds.
        from torchmetrics.functional.classification import multilabel_average_precision

        scores, targets = np.stack(self._scores), np.stack(self._targets)
        predicted = scores >= self.limits
        samples = targets.sum(axis=0)
        by_class = class_scores((predicted & targets).sum(axis=0), predicted.sum(axis=0), samples)
        mean_ap = multilabel_average_precision(
            torch.from_numpy(scores), torch.from_numpy(targets).int(), len(self.classes)
        )
        values = {
            "accuracy": float((predicted == targets).mean()),
            "exact_match": self._exact / max(self.count, 1),
            "mean_average_precision": float(mean_ap),
            **{name: float(column.mean()) for name, column in by_class.items()},
            "calibration_error": self._calibration.error(),
        }
        thresholds = [
            best_f1_threshold(ClassScores.ordered(column, is_positive, int(is_positive.sum())))
            for column, is_positive in zip(scores.T, targets.T, strict=True)
        ]
        details = {"per_class": per_class(self.classes, by_class, samples)}
        return Report(values, details, {"kind": "per_class", "values": thresholds})
