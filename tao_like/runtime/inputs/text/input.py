"""Texts as a model's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.base import check_format, shape_fits
from tao_like.runtime.inputs.text.preprocessing import TextPreprocessing, Tokenizer
from tao_like.runtime.metadata import InputMetadata

if TYPE_CHECKING:
    from onnxruntime import NodeArg

FORMAT = "ids_int64"


class TextInput:
    """Texts; see `InputKind`. A batch is int64 (N, context_length): ids."""

    one_by_one = False

    def __init__(self, metadata: InputMetadata, extra: Mapping[str, Any]) -> None:
        del extra
        check_format(metadata, [FORMAT])
        self.preprocessing = TextPreprocessing.from_dict(metadata.preprocessing)
        self.tokenizer = Tokenizer(self.preprocessing)

    def check_graph(self, node: NodeArg) -> int | None:
        """Compares type and length of the input."""
        batch, *given = node.shape or [None]
        if not shape_fits(given, [self.preprocessing.context_length]) or node.type != "tensor(int64)":
            raise BundleError(
                f"the graph's input is {node.type} {node.shape}, but the metadata promises int64 ids of "
                f"length {self.preprocessing.context_length}."
            )
        return batch if isinstance(batch, int) else None

    def is_one(self, given: Any) -> bool:
        """A text."""
        return isinstance(given, str)

    def files(self, folder: Path) -> list[Path]:
        """Texts are given as they are."""
        raise DatasetError(f"{folder}: texts are given by themselves, not as files of a folder.")

    def preprocess(self, given: Any) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
        """Ids (context_length,); a text has no size."""
        if not isinstance(given, str):
            raise DatasetError(f"a text is wanted, and a {type(given).__name__} is given.")
        return self.tokenizer.ids(given), (0, 0)

    def batch(self, samples: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """Ids (N, context_length)."""
        return np.stack(samples)

    def check_batch(self, batch: npt.NDArray[Any], path: Path) -> None:
        """They are int64 of the network's length."""
        length = self.preprocessing.context_length
        if batch.dtype != np.int64 or batch.ndim != 2 or batch.shape[1] != length or len(batch) == 0:
            raise DatasetError(
                f"the ids are {batch.dtype} of shape {batch.shape}; {path} takes int64 of shape (1 or more, "
                f"{length})."
            )

    def graph_values(self, batch: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The ids as they are."""
        return batch
