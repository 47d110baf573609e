"""From an encoder's output to a vector a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction

EMBEDDING = "embedding"
"""Meaning of an output (N, D): a vector that stands for each sample."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingPrediction(Prediction):
    """What an encoder makes of one sample.

    Attributes:
        embedding: (D,) float32; empty where the input could not be read.
    """

    embedding: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


class EmbeddingReader:
    """Reads an encoder's vectors; see `tao_like.runtime.predictions.base.PredictionReader`."""

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without exactly one output of vectors."""
        _embedding_output(metadata)

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[EmbeddingPrediction]:
        """Return the vector of each sample."""
        del sizes
        vectors = outputs[_embedding_output(metadata)]
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise BundleError(
                f"the model gave embeddings of shape {vectors.shape}, or values that are not numbers (NaN or "
                "infinite)."
            )
        return [
            EmbeddingPrediction(source=source, embedding=vector.astype(np.float32))
            for vector, source in zip(vectors, sources, strict=True)
        ]

    def failed(self, source: str | None, error: str) -> EmbeddingPrediction:
        """Return a prediction without a vector."""
        return EmbeddingPrediction(source=source, error=error)


def _embedding_output(metadata: ModelMetadata) -> str:
    found = [name for name, meaning in metadata.outputs.items() if meaning == EMBEDDING]
    if len(found) != 1:
        raise BundleError(
            f"{len(found)} of the model's outputs have the meaning {EMBEDDING!r}; an encoder has exactly one."
        )
    return found[0]
