"""What every kind of input does for a model: it is read, preprocessed, checked and fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.metadata import InputMetadata

if TYPE_CHECKING:
    from onnxruntime import NodeArg


class InputKind(Protocol):
    """How inputs of one kind reach a graph; made from the metadata of an input and the model's ``extra``.

    Attributes:
        preprocessing: its settings.
        one_by_one: the graph takes one sample a call, of any length, and its outputs have no batch axis.
    """

    preprocessing: Any
    one_by_one: bool

    def check_graph(self, node: NodeArg) -> int | None:
        """Compares an input of the graph with what the metadata promises; its batch size, None: any.

        Raises:
            BundleError: it is another graph.
        """

    def is_one(self, given: Any) -> bool:
        """Whether this, which is no path, is one input."""

    def files(self, folder: Path) -> list[Path]:
        """The inputs in a folder. Raises DatasetError."""

    def preprocess(self, given: Any) -> tuple[Any, tuple[int, int]]:
        """One input as the network takes it, and the original's width and height where it has them.

        Raises:
            DatasetError: it cannot be read, or is none.
        """

    def batch(self, samples: Sequence[Any]) -> Any:
        """Preprocessed inputs as a batch."""

    def check_batch(self, batch: Any, path: Path) -> None:
        """Raises a DatasetError where a batch is none for the network of ``path``."""

    def graph_values(self, batch: Any) -> npt.NDArray[Any]:
        """What the graph's input is given for a batch; where it takes one by one, for its only sample."""


class InputFactory(Protocol):
    """A class of inputs, as the registry holds it."""

    def __call__(self, metadata: InputMetadata, extra: Mapping[str, Any]) -> InputKind:
        """The inputs that a model's metadata describes. Raises BundleError where that has no meaning."""


def check_format(metadata: InputMetadata, formats: Sequence[str]) -> None:
    """Raises a BundleError where inputs of this kind do not come in the form that is promised."""
    if metadata.input_format not in formats:
        raise BundleError(
            f"the model's metadata is wrong: input_format is {metadata.input_format!r}; inputs of the kind "
            f"{metadata.kind} come as {' or '.join(formats)}."
        )


def shape_fits(given: Sequence[int | str | None], promised: Sequence[int]) -> bool:
    """Whether a graph's axes are the promised ones; an axis of open size fits any."""
    return len(given) == len(promised) and all(
        not isinstance(size, int) or size == wanted for size, wanted in zip(given, promised, strict=True)
    )
