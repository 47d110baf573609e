"""Skeletons over time as a model's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.base import check_format, shape_fits
from tao_like.runtime.inputs.skeleton.preprocessing import SkeletonPreprocessing, preprocess_skeleton
from tao_like.runtime.inputs.skeleton.reading import checked_skeleton, read_skeleton, skeleton_files
from tao_like.runtime.metadata import InputMetadata

if TYPE_CHECKING:
    from onnxruntime import NodeArg


class SkeletonInput:
    """Skeletons; see `InputKind`. A batch is float32 (N, channels, frames, joints, persons)."""

    one_by_one = False

    def __init__(self, metadata: InputMetadata, extra: Mapping[str, Any]) -> None:
        del extra
        check_format(metadata, ["float_nctvm"])
        self.preprocessing = SkeletonPreprocessing.from_dict(metadata.preprocessing)

    def check_graph(self, node: NodeArg) -> int | None:
        """The input is float32 (batch, channels, frames, joints, persons); frames may be open."""
        batch, *sizes = node.shape or [None]
        promised = self.preprocessing.shape
        if not shape_fits(sizes, promised) or node.type != "tensor(float)":
            raise BundleError(
                f"the graph's input is {node.type} {node.shape}, but the metadata promises float skeletons "
                f"of size {list(promised)}."
            )
        return batch if isinstance(batch, int) else None

    def is_one(self, given: Any) -> bool:
        """An array."""
        return isinstance(given, np.ndarray)

    def files(self, folder: Path) -> list[Path]:
        """Its sequences."""
        return skeleton_files(folder)

    def preprocess(self, given: Any) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
        """Joints (channels, frames, joints, persons); a skeleton has no width and height."""
        if isinstance(given, np.ndarray):
            sequence = checked_skeleton(given, self.preprocessing, "the array")
        else:
            sequence = read_skeleton(given, self.preprocessing)
        return preprocess_skeleton(sequence, self.preprocessing), (0, 0)

    def batch(self, samples: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Joints (N, channels, frames, joints, persons)."""
        return np.stack(samples)

    def check_batch(self, batch: npt.NDArray[Any], path: Path) -> None:
        """They are float32 and fit the network; the number of frames is free."""
        channels, _, joints, persons = self.preprocessing.shape
        sizes = (batch.shape[1], *batch.shape[3:]) if batch.ndim == 5 else ()
        if batch.dtype != np.float32 or sizes != (channels, joints, persons) or 0 in batch.shape:
            raise DatasetError(
                f"preprocessed skeletons are {batch.dtype} of shape {batch.shape}; {path} takes float32 of "
                f"shape (1 or more, {channels}, frames, {joints}, {persons})."
            )

    def graph_values(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Joints as they are."""
        return batch
