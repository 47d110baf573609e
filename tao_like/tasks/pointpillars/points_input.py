"""LiDAR frames as a network takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from tao_like.contract.inputs import Input
from tao_like.contract.sample import Preprocessed
from tao_like.data.inference_files import point_sources
from tao_like.runtime.inputs.points import Points, PointsPreprocessing, preprocess_points, read_points

POINTS = "points"
"""The name of the input."""
DUMMY_POINTS = 2000


class PointsInput(Input):
    """The points of a frame, (N, 4) float32: x, y, z in metres and the strength of the echo.

    Args:
        preprocessing: gives the frames' preprocessing, which may depend on data not read yet.
    """

    kind = "points"
    format = "points"

    def __init__(self, preprocessing: Callable[[], PointsPreprocessing]) -> None:
        self._preprocessing = preprocessing

    @property
    @override
    def preprocessing(self) -> dict[str, Any]:
        return self._preprocessing().to_dict()

    @override
    def files(self, source: str) -> list[Path]:
        return point_sources(source)

    @override
    def read(self, path: Path) -> Points:
        return read_points(path, self._preprocessing())

    @override
    def dummy(self, generator: np.random.Generator) -> Points:
        limits = self._preprocessing().point_cloud_range
        low, high = (*limits[:3], 0.0), (*limits[3:], 1.0)
        return generator.uniform(low, high, (DUMMY_POINTS, 4)).astype(np.float32)

    @override
    def preprocess(self, data: Sequence[Points]) -> list[Points]:
        return [preprocess_points(points, self._preprocessing()) for points in data]

    @override
    def of_batch(self, tensor: Tensor, count: int) -> list[Points]:
        return split_frames(tensor, count)

    def points(self) -> Tensor:
        """A frame of noise as the network takes it in training: (P, 5)."""
        return numbered_points([self.dummy(np.random.default_rng(0))])


def numbered_points(frames: Sequence[Points]) -> Tensor:
    """Frames (N, 4) as one tensor (P, 5) whose first column is the number of the frame."""
    numbers = np.repeat(np.arange(len(frames), dtype=np.float32), [len(frame) for frame in frames])
    points = np.concatenate([np.empty((0, 4), np.float32), *frames])
    return torch.from_numpy(np.concatenate([numbers[:, None], points], axis=1))


def split_frames(points: Tensor, count: int) -> list[Points]:
    """The frames that ``numbered_points`` joined."""
    values = points.cpu().numpy()
    ends = np.searchsorted(values[:, 0], np.arange(1, count))
    return [np.ascontiguousarray(part[:, 1:]) for part in np.split(values, ends)]


def point_tensors(preprocessed: Preprocessed) -> tuple[Tensor]:
    """The points (N, 4) of a batch of one frame, as the exportable network takes them."""
    (points,) = preprocessed[POINTS]
    return (torch.from_numpy(points),)
