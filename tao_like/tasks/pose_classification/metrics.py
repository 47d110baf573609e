"""Metrics of pose classification: those of classification with one label, and TAO's mean over the classes."""

from __future__ import annotations

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.tasks.common.class_metrics import ClassificationMetrics
from tao_like.tasks.pose_classification.draw import bar_chart

TOP_K = (1, 5)


class PoseMetrics(ClassificationMetrics):
    """Scores rows of probabilities against class numbers.

    Args:
        classes: class names in the order of the columns.
        thresholds: the stored threshold of rejection.
    """

    def __init__(self, classes: list[str], thresholds: dict[str, object]) -> None:
        super().__init__(classes, list(TOP_K), multi_label=False, thresholds=thresholds)

    @override
    def compute(self) -> dict[str, float]:
        figures = super().compute()
        shares = self._class_accuracies()
        # Classes without a sequence have none; TAO counts them as 0.
        return figures | {"mean_class_accuracy": float(np.nanmean(shares))}

    def _class_accuracies(self) -> np.ndarray:
        """(classes,): the share of each class's sequences that are told rightly; NaN without any."""
        matrix = self._confusion().numpy().astype(float)
        counts = matrix.sum(axis=1)
        return np.divide(np.diag(matrix), counts, out=np.full(len(counts), np.nan), where=counts > 0)

    @override
    def pictures(self) -> dict[str, Image.Image]:
        shares = np.nan_to_num(self._class_accuracies()).tolist()
        return super().pictures() | {
            "accuracy_by_class": bar_chart(shares, self.classes, "Share of each class told rightly")
        }
