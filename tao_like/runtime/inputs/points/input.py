"""LiDAR frames as a model's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.base import check_format
from tao_like.runtime.inputs.points.preprocessing import (
    POINT_FEATURES,
    PointsPreprocessing,
    preprocess_points,
)
from tao_like.runtime.inputs.points.reading import chosen_columns, point_files, read_points
from tao_like.runtime.metadata import InputMetadata

if TYPE_CHECKING:
    from onnxruntime import NodeArg


class PointsInput:
    """LiDAR frames; see `InputKind`. A batch is a list of frames, (points, 4) float32 each."""

    one_by_one = True

    def __init__(self, metadata: InputMetadata, extra: Mapping[str, Any]) -> None:
        del extra
        check_format(metadata, ["points"])
        self.preprocessing = PointsPreprocessing.from_dict(metadata.preprocessing)

    def check_graph(self, node: NodeArg) -> None:
        """The input is float32 (any, 4)."""
        if (
            node.type != "tensor(float)"
            or node.shape[1:] != [POINT_FEATURES]
            or isinstance(node.shape[0], int)
        ):
            raise BundleError(
                f"the graph's input is {node.type} {node.shape}, but the metadata promises float points of "
                f"shape (any, {POINT_FEATURES})."
            )

    def is_one(self, given: Any) -> bool:
        """An array."""
        return isinstance(given, np.ndarray)

    def files(self, folder: Path) -> list[Path]:
        """Its frames."""
        return point_files(folder)

    def preprocess(self, given: Any) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
        """Points within the range; a frame has no width and height."""
        if isinstance(given, np.ndarray):
            points = chosen_columns(given, self.preprocessing, "the array")
        else:
            points = read_points(given, self.preprocessing)
        return preprocess_points(points, self.preprocessing), (0, 0)

    def batch(self, samples: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """A list."""
        return list(samples)

    def check_batch(self, batch: Sequence[npt.NDArray[Any]], path: Path) -> None:
        """They are float32 (points, 4)."""
        for frame in batch:
            if frame.dtype != np.float32 or frame.ndim != 2 or frame.shape[1] != POINT_FEATURES:
                raise DatasetError(
                    f"a preprocessed frame is {frame.dtype} of shape {frame.shape}; {path} takes float32 of "
                    f"shape (points, {POINT_FEATURES})."
                )
        if not len(batch):
            raise DatasetError(f"there is no frame for {path}; give one or more.")

    def graph_values(self, batch: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """The points of the only frame."""
        (frame,) = batch
        return frame
