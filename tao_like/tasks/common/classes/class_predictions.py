"""Predictions of tasks that tell the class of a sample: probabilities, and what is decided by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.data import Data
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs, Sample
from tao_like.runtime.predictions.classes import MULTI_LABEL, SINGLE_LABEL, ClassPrediction, decide

PROBABILITIES = "probabilities"
"""The name of the exported graph's output."""
MAX_PROBABILITY_COLUMNS = 100
"""With more classes than this, predictions.csv leaves the single probabilities out."""


class ClassPredictions(Predictions[np.ndarray]):
    """A row of probabilities (classes,) a sample.

    Args:
        data: its labels name the columns.
        thresholds: the stored thresholds by which labels are decided; empty: the default rule.
        multi_label: each class is told by itself; targets are rows of 0 and 1.
    """

    kind = "classes"

    def __init__(self, data: Data, thresholds: dict[str, Any], multi_label: bool = False) -> None:
        self.data = data
        self.thresholds = thresholds
        self.multi_label = multi_label

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the columns."""
        return self.data.labels.names

    @property
    def meanings(self) -> dict[str, str]:
        """The exported graph's output and what it means."""
        return {PROBABILITIES: MULTI_LABEL if self.multi_label else SINGLE_LABEL}

    @override
    def from_outputs(self, outputs: Outputs) -> list[np.ndarray]:
        return list(outputs[PROBABILITIES])

    @override
    def targets(self, batch: Batch[Any]) -> list[Any]:
        return list(batch.targets.cpu().numpy())

    def decided(self, prediction: np.ndarray) -> ClassPrediction:
        """What the runtime decides by these probabilities."""
        return decide(prediction, self.classes, self.thresholds, self.multi_label)

    def target_names(self, target: Any) -> list[str]:
        """The classes of a target by name."""
        numbers = np.flatnonzero(target) if self.multi_label else [int(target)]
        return [self.classes[number] for number in numbers]

    @override
    def csv_row(self, sample: Sample, prediction: np.ndarray) -> dict[str, Any]:
        decision = self.decided(prediction)
        row: dict[str, Any] = {
            "path": sample.key,
            "label": ";".join(decision.labels),
            "score": f"{decision.score:.6f}",
            "rejected": decision.rejected,
        }
        if sample.target is not None:
            target = self.target_names(sample.target)
            row |= {"truth": ";".join(target), "correct": set(target) == set(decision.labels)}
        if len(self.classes) <= MAX_PROBABILITY_COLUMNS:
            row |= {f"p_{name}": f"{value:.6f}" for name, value in zip(self.classes, prediction, strict=True)}
        return row
