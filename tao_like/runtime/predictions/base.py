"""What the answers of every task have in common, and what a task tells the runtime about its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from tao_like.runtime.metadata import ModelMetadata

Outputs = Mapping[str, npt.NDArray[Any]]
"""A graph's outputs by name, each with the batch as its first axis."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one input.

    Attributes:
        source: the file that was asked about, None for a picture in memory.
        error: why there is no answer, None if there is one.
    """

    source: str | None = None
    error: str | None = None


class AnswerReader(Protocol):
    """How the answers of one task come out of a graph's outputs."""

    def check(self, metadata: ModelMetadata) -> None:
        """Raise a BundleError if a model of this task cannot have this metadata."""

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> Sequence[Answer]:
        """Return the answers to one batch, in order.

        Args:
            outputs: of the graph.
            metadata: of the model.
            sources: the files asked about.
            sizes: width and height of each original picture, in pixels.
        """

    def failed(self, source: str | None, error: str) -> Answer:
        """Return the task's answer for an input that cannot be read."""
