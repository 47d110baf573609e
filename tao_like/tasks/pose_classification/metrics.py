"""Metrics of pose classification: those of classification with one label, and TAO's mean over the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.metrics import Report
from tao_like.tasks.common.classes.class_metrics import ClassMetrics
from tao_like.tasks.pose_classification.draw import bar_chart

TOP_K = (1, 5)


class PoseMetrics(ClassMetrics):
    """Scores rows of probabilities against class numbers.

    Args:
        classes: class names in the order of the columns.
        thresholds: the stored threshold of rejection.
    """

    def __init__(self, classes: list[str], thresholds: dict[str, Any]) -> None:
        super().__init__(classes, list(TOP_K), thresholds)

    @override
    def reported(self) -> dict[str, bool]:
        return super().reported() | {"mean_class_accuracy": True}

    @override
    def compute(self) -> Report:
        report = super().compute()
        # Classes without a sequence have none; TAO counts them as 0.
        report.values["mean_class_accuracy"] = float(np.nanmean(self._class_accuracies()))
        return report

    @override
    def draw(self) -> dict[str, Image.Image]:
        fractions = np.nan_to_num(self._class_accuracies()).tolist()
        chart = bar_chart(fractions, self.classes, "Fraction of each class told rightly")
        return super().draw() | {"accuracy_by_class": chart}

    def _class_accuracies(self) -> np.ndarray:
        """(classes,): the fraction of each class's sequences that are told rightly; NaN without any."""
        counts = self.confusion.sum(axis=1)
        hits = np.diag(self.confusion).astype(float)
        return np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0)
