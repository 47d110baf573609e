"""Seeds as a model's input: whole numbers from which a sample's random numbers are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.base import check_format
from tao_like.runtime.inputs.image.preprocessing import ImagePreprocessing
from tao_like.runtime.metadata import InputMetadata

if TYPE_CHECKING:
    from onnxruntime import NodeArg

FORMAT = "seed_int64"
MADE_LIKE = "made_like"
"""In the preprocessing of a seed: how the real images were preprocessed that made ones resemble."""


class SeedInput:
    """Seeds; see `InputKind`. A batch is int64 (N,). No graph takes them: the sampler does."""

    one_by_one = False

    def __init__(self, metadata: InputMetadata, extra: Mapping[str, Any]) -> None:
        del extra
        check_format(metadata, [FORMAT])
        self.preprocessing: dict[str, Any] = metadata.preprocessing
        if set(self.preprocessing) - {MADE_LIKE}:
            raise BundleError(f"the preprocessing of seeds is wrong: it may only have {MADE_LIKE}.")
        if MADE_LIKE in self.preprocessing:
            ImagePreprocessing.from_dict(self.preprocessing[MADE_LIKE])

    def check_graph(self, node: NodeArg) -> int | None:
        """Refuses a graph that takes seeds."""
        raise BundleError(f"the graph's input {node.name} is a seed, which no graph takes.")

    def is_one(self, given: Any) -> bool:
        """A whole number."""
        return isinstance(given, int | np.integer) and not isinstance(given, bool)

    def files(self, folder: Path) -> list[Path]:
        """Seeds are given as they are."""
        raise DatasetError(f"{folder}: seeds are given by themselves, not as files of a folder.")

    def preprocess(self, given: Any) -> tuple[np.int64, tuple[int, int]]:
        """The number itself."""
        if not self.is_one(given) or not -(2**63) <= int(given) < 2**63:
            raise DatasetError(f"a seed is a whole number of 64 bits, and {given!r} is given.")
        return np.int64(given), (0, 0)

    def batch(self, samples: Sequence[np.int64]) -> npt.NDArray[np.int64]:
        """(N,)."""
        return np.array(samples, np.int64)

    def check_batch(self, batch: npt.NDArray[Any], path: Path) -> None:
        """They are int64, one a sample."""
        if batch.dtype != np.int64 or batch.ndim != 1 or len(batch) == 0:
            raise DatasetError(
                f"the seeds are {batch.dtype} of shape {batch.shape}; {path} takes int64 of shape (N,)."
            )

    def graph_values(self, batch: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers as they are."""
        return batch
