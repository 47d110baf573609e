"""A caption and a seed as inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.inputs import Input
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.seed_input import FORMAT as SEED_FORMAT
from tao_like.runtime.inputs.text import TextPreparation, Tokenizer
from tao_like.runtime.inputs.text_input import FORMAT as TEXT_FORMAT

DUMMY_WORDS = 4


class TextInput(Input):
    """A caption.

    Args:
        preprocessing: gives its tokens' settings, which may depend on captions not read yet.
    """

    kind = "text"
    format = TEXT_FORMAT

    def __init__(self, preprocessing: Callable[[], TextPreparation]) -> None:
        self._preprocessing = preprocessing

    @property
    @override
    def preprocessing(self) -> dict[str, Any]:
        return self._preprocessing().to_dict()

    @override
    def scaling(self, model: nn.Module) -> dict[str, list[float]]:
        return {}

    @override
    def files(self, source: str) -> list[Path]:
        raise DatasetError(f"{source}: captions are texts, not files")

    @override
    def read(self, path: Path) -> str:
        raise DatasetError(f"{path}: captions are texts, not files")

    @override
    def dummy(self, generator: np.random.Generator) -> str:
        words = self._preprocessing().words or ["word"]
        return " ".join(generator.choice(words, DUMMY_WORDS))

    @override
    def preprocess(self, data: Sequence[str]) -> np.ndarray:
        tokenizer = Tokenizer(self._preprocessing())
        return np.stack([tokenizer.ids(text) for text in data])

    @override
    def of_batch(self, tensor: Tensor, count: int) -> np.ndarray:
        return tensor.cpu().numpy()


class SeedInput(Input):
    """The number that a sample's noise is drawn from."""

    kind = "seed"
    format = SEED_FORMAT

    @property
    @override
    def preprocessing(self) -> dict[str, Any]:
        return {}

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
