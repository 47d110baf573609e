"""What predictions of every kind have in common, and what a kind tells the runtime about its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from tao_like.runtime.metadata import ModelMetadata

Outputs = Mapping[str, npt.NDArray[Any]]
"""A graph's outputs by name, each with the batch as its first axis."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one input.

    Attributes:
        source: the file that was asked about, None for an image in memory.
        error: why there is no prediction, None if there is one.
    """

    source: str | None = None
    error: str | None = None


class PredictionReader(Protocol):
    """How predictions of one kind come out of a graph's outputs; readers inherit from it."""

    kind: type[Prediction]
    """What they are."""

    def check(self, metadata: ModelMetadata) -> None:
        """Raise a BundleError if a model with such predictions cannot have this metadata."""

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> Sequence[Prediction]:
        """Return the predictions for one batch, in order.

        Args:
            outputs: of the graph.
            metadata: of the model.
            sources: the files asked about.
            sizes: width and height of each original image, in pixels.
        """

    def failed(self, source: str | None, error: str) -> Prediction:
        """Return the prediction for an input that cannot be read."""
        return self.kind(source=source, error=error)


Answer = Prediction
AnswerReader = PredictionReader
