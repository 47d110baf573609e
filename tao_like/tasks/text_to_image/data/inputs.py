"""A seed as an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.inputs import Input
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.inputs.seed_input import FORMAT, MADE_LIKE


class SeedInput(Input):
    """The number that a sample's noise is drawn from.

    Args:
        images: says how real images are preprocessed; a given image of inference is preprocessed likewise.
    """

    kind = "seed"
    format = FORMAT

    def __init__(self, images: Callable[[], ImagePreprocessing]) -> None:
        self._images = images

    @property
    @override
    def preprocessing(self) -> dict[str, Any]:
        return {MADE_LIKE: self._images().to_dict()}

    @override
    def scaling(self, model: nn.Module) -> dict[str, list[float]]:
        return {}

    @override
    def files(self, source: str) -> list[Path]:
        raise DatasetError(f"{source}: seeds are numbers, not files")

    @override
    def read(self, path: Path) -> int:
        raise DatasetError(f"{path}: seeds are numbers, not files")

    @override
    def dummy(self, generator: np.random.Generator) -> int:
        return int(generator.integers(2**31))

    @override
    def preprocess(self, data: Sequence[int]) -> np.ndarray:
        return np.array(data, np.int64)

    @override
    def of_batch(self, tensor: Tensor, count: int) -> np.ndarray:
        return tensor.cpu().numpy()
