"""Metrics of tasks that tell the class of a sample, on the probabilities that ship."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchmetrics.functional import classification as scores

from tao_like.contract.task import Metrics
from tao_like.plots.confusion import draw_confusion_matrix
from tao_like.runtime.predictions.classes import decide
from tao_like.tasks.common.class_predictions import ClassAnswers, best_f1_cut

REJECTION_STEPS = 101


class ClassificationMetrics(Metrics):
    """Scores rows of probabilities against class numbers, or against rows of 0 and 1.

    Args:
        classes: class names in the order of the columns.
        topk: the k of the top-k accuracies; those above the number of classes are left out.
        multi_label: truths are rows of 0 and 1.
        thresholds: the stored thresholds by which labels are given; see ``runtime.classification``.
    """

    def __init__(
        self, classes: list[str], topk: list[int], multi_label: bool, thresholds: dict[str, Any]
    ) -> None:
        super().__init__()
        self.classes = classes
        self.topk = sorted({k for k in topk if k <= len(classes)} | {1})
        self.multi_label = multi_label
        self.stored_thresholds = thresholds

    def _arrays(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities (N, classes) and truths: (N,) class numbers, or (N, classes)."""
        rows = self.collected
        probabilities = torch.from_numpy(np.stack([answer for _, answer, _ in rows])).float()
        return probabilities, torch.from_numpy(np.stack([np.asarray(target) for _, _, target in rows]))

    def compute(self) -> dict[str, float]:
        """Accuracy, top-k, macro averages and calibration; for several labels also mean AP.

        ``accuracy`` counts the arg-max for single labels; for several, it is the share of labels told
        rightly with the stored thresholds.
        """
        probabilities, targets = self._arrays()
        figures = self._multi_label(probabilities, targets) if self.multi_label else {}
        if not self.multi_label:
            figures = self._single_label(probabilities, targets)
        return {name: float(value) for name, value in figures.items()}

    def _single_label(self, probabilities: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
        count = len(self.classes)
        predicted = probabilities.argmax(dim=1)
        macro: dict[str, Any] = {"num_classes": count, "average": "macro", "zero_division": 0.0}
        figures = {"accuracy": (predicted == targets).float().mean()}
        for k in self.topk[1:]:
            best = probabilities.topk(k, dim=1).indices
            figures[f"top{k}_accuracy"] = (best == targets[:, None]).any(dim=1).float().mean()
        figures["precision"] = scores.multiclass_precision(predicted, targets, **macro)
        figures["recall"] = scores.multiclass_recall(predicted, targets, **macro)
        figures["f1"] = scores.multiclass_f1_score(predicted, targets, **macro)
        figures["calibration_error"] = scores.multiclass_calibration_error(
            probabilities, targets, num_classes=count, n_bins=15
        )
        return figures

    def _multi_label(self, probabilities: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
        count = len(self.classes)
        predicted = (probabilities >= self._cuts()).int()
        truths = targets.int()
        macro: dict[str, Any] = {"num_labels": count, "average": "macro", "zero_division": 0.0}
        return {
            "accuracy": (predicted == truths).float().mean(),
            "exact_match": (predicted == truths).all(dim=1).float().mean(),
            "mean_average_precision": scores.multilabel_average_precision(probabilities, truths, count),
            "precision": scores.multilabel_precision(predicted, truths, **macro),
            "recall": scores.multilabel_recall(predicted, truths, **macro),
            "f1": scores.multilabel_f1_score(predicted, truths, **macro),
            "calibration_error": scores.binary_calibration_error(
                probabilities.flatten(), truths.flatten(), 15
            ),
        }

    def _cuts(self) -> torch.Tensor:
        values = self.stored_thresholds.get("values") or [0.5] * len(self.classes)
        return torch.tensor(values)

    def details(self) -> dict[str, Any]:
        """Precision, recall, F1 and count of each class; for single labels the confusion matrix too."""
        probabilities, targets = self._arrays()
        count = len(self.classes)
        if self.multi_label:
            predicted, truths = (probabilities >= self._cuts()).int(), targets.int()
            per_class: dict[str, Any] = {"num_labels": count, "average": "none", "zero_division": 0.0}
            columns = [
                scores.multilabel_precision(predicted, truths, **per_class),
                scores.multilabel_recall(predicted, truths, **per_class),
                scores.multilabel_f1_score(predicted, truths, **per_class),
                truths.sum(dim=0),
            ]
        else:
            predicted = probabilities.argmax(dim=1)
            per_class = {"num_classes": count, "average": "none", "zero_division": 0.0}
            columns = [
                scores.multiclass_precision(predicted, targets, **per_class),
                scores.multiclass_recall(predicted, targets, **per_class),
                scores.multiclass_f1_score(predicted, targets, **per_class),
                torch.bincount(targets, minlength=count),
            ]
        names = ("precision", "recall", "f1", "samples")
        details: dict[str, Any] = {
            "per_class": {
                label: {name: float(column[number]) for name, column in zip(names, columns, strict=True)}
                for number, label in enumerate(self.classes)
            }
        }
        if not self.multi_label:
            details["confusion_matrix"] = self._confusion().tolist()
            details["rejected_share"] = float(np.mean([decision.rejected for decision in self._decisions()]))
        return details

    def _decisions(self) -> list[Any]:
        return [
            decide(answer, self.classes, self.stored_thresholds, self.multi_label)
            for _, answer, _ in self.collected
        ]

    def _confusion(self) -> torch.Tensor:
        """(classes, classes): rows are truths, columns answers."""
        probabilities, targets = self._arrays()
        count = len(self.classes)
        return torch.bincount(targets * count + probabilities.argmax(dim=1), minlength=count**2).view(
            count, count
        )

    def pictures(self) -> dict[str, Image.Image]:
        """The confusion matrix, for single labels."""
        if self.multi_label:
            return {}
        return {"confusion_matrix": draw_confusion_matrix(self._confusion().numpy(), self.classes)}

    def ranked(self) -> list[int]:
        """Indices by the probability that the truth was given, the smallest first."""

        def trust(answer: np.ndarray, target: Any) -> float:
            if self.multi_label:
                return float(np.where(np.asarray(target) > 0, answer, 1 - answer).min())
            return float(answer[int(target)] - np.delete(answer, int(target)).max(initial=0.0))

        return [
            index
            for index, _, _ in sorted(self.collected, key=lambda item: (trust(item[1], item[2]), item[0]))
        ]

    def thresholds(self) -> dict[str, Any]:
        """For several labels the cut of each class with the best F1; else a threshold of rejection."""
        probabilities, targets = (array.numpy() for array in self._arrays())
        if self.multi_label:
            cuts = [
                best_f1_cut(ClassAnswers.ordered(column, truths > 0, int(truths.sum())))
                for column, truths in zip(probabilities.T, targets.T, strict=True)
            ]
            return {"kind": "per_class", "values": cuts}
        return {"kind": "reject", "value": rejection_cut(probabilities, targets)}


def rejection_cut(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The highest probability below which an answer is rather wrong than right, 0 when there is none.

    Rejecting pays where it removes more wrong answers than right ones: the cut maximises (wrong
    rejected - right rejected), in steps of 0.01, and is the lowest of equals.
    """
    best = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    cuts = np.linspace(0, 1, REJECTION_STEPS)
    gains = [int((~right[best < cut]).sum()) - int(right[best < cut].sum()) for cut in cuts]
    return round(float(cuts[int(np.argmax(gains))]), 2)
