"""The predictions of a task: from a graph's outputs to rows, images and differences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from PIL import Image

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Outputs, Sample

PredictionT = TypeVar("PredictionT")


class Predictions(ABC, Generic[PredictionT]):
    """What a network's outputs mean."""

    kind: ClassVar[str]
    """The runtime's word for them, such as ``classes``: by it the runtime finds its reader."""

    @abstractmethod
    def from_outputs(self, outputs: Outputs) -> list[PredictionT]:
        """Splits a batch's outputs into one prediction a sample."""

    @abstractmethod
    def targets(self, batch: Batch[Any]) -> list[Any]:
        """Splits a batch's targets into one a sample."""

    def difference(self, expected: Outputs, actual: Outputs) -> float:
        """How far two sets of outputs are apart: the largest absolute difference."""
        return max(float(np.abs(expected[name] - actual[name]).max(initial=0.0)) for name in expected)

    @abstractmethod
    def csv_row(self, sample: Sample, prediction: PredictionT) -> dict[str, Any]:
        """A sample and its prediction as a row of predictions.csv; a sample with target needs no data."""

    @abstractmethod
    def draw(self, sample: Sample, prediction: PredictionT, heatmap: np.ndarray | None = None) -> Image.Image:
        """A sample with target and prediction, for people.

        Args:
            sample: with its data.
            prediction: for it.
            heatmap: (H, W), 0 to 1, where the network looked; None: that is not drawn.
        """

    def draw_batch(self, batch: Batch[Any]) -> list[Image.Image]:
        """A training batch as the network sees it, with its targets; empty: this task does not draw it."""
        del batch
        return []
