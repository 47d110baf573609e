"""A skeleton sequence as a network takes it."""

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
from tao_like.data.inference_files import skeleton_sources
from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing, preprocess_skeleton, read_skeleton

JOINTS = "joints"
"""The name of the input."""


class SkeletonInput(Input):
    """Joints over time, (C, T, V, M) float32.

    Args:
        preprocessing: gives the sequences' preprocessing, which may depend on data not read yet.
    """

    kind = "skeleton"
    format = "float_nctvm"

    def __init__(self, preprocessing: Callable[[], SkeletonPreprocessing]) -> None:
        self._preprocessing = preprocessing

    @property
    @override
    def preprocessing(self) -> dict[str, Any]:
        return self._preprocessing().to_dict()

    @override
    def files(self, source: str) -> list[Path]:
        return skeleton_sources(source)

    @override
    def read(self, path: Path) -> np.ndarray:
        return read_skeleton(path, self._preprocessing())

    @override
    def dummy(self, generator: np.random.Generator) -> np.ndarray:
        return generator.normal(0, 0.5, self._preprocessing().shape).astype(np.float32)

    @override
    def preprocess(self, data: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([preprocess_skeleton(sequence, self._preprocessing()) for sequence in data])

    @override
    def of_batch(self, tensor: Tensor, count: int) -> np.ndarray:
        del count
        return tensor.cpu().numpy()

    def joints(self) -> Tensor:
        """A sequence of noise as the network takes it: (1, C, T, V, M)."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(1, *self._preprocessing().shape, generator=generator)


def joint_tensors(preprocessed: Preprocessed) -> tuple[Tensor]:
    """Preprocessed sequences (N, C, T, V, M) as the exportable network takes them."""
    return (torch.from_numpy(preprocessed[JOINTS]),)
