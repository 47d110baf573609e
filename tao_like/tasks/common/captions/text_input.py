"""A text as a network takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.inputs import Input
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.text import Tokenizer
from tao_like.runtime.inputs.text.input import FORMAT

DUMMY_WORDS = 5


class TextInput(Input):
    """One text.

    Args:
        tokenizer: gives the tokenizer, which may depend on data not read yet.
    """

    kind = "text"
    format = FORMAT

    def __init__(self, tokenizer: Callable[[], Tokenizer]) -> None:
        self._tokenizer = tokenizer

    @property
    @override
    def preprocessing(self) -> dict[str, Any]:
        return self._tokenizer().preprocessing.to_dict()

    @override
    def scaling(self, model: nn.Module) -> dict[str, list[float]]:
        del model
        return {"mean": [], "std": []}

    @override
    def files(self, source: str) -> list[Path]:
        raise DatasetError(f"inference.source={source}: texts are given in the spec, not as files")

    @override
    def read(self, path: Path) -> str:
        raise DatasetError(f"{path}: texts are given in the spec, not as files")

    @override
    def dummy(self, generator: np.random.Generator) -> str:
        words = self._tokenizer().preprocessing.words or ["word"]
        return " ".join(generator.choice(words, DUMMY_WORDS))

    @override
    def preprocess(self, data: Sequence[str]) -> np.ndarray:
        return np.stack([self._tokenizer().ids(text) for text in data])

    @override
    def of_batch(self, tensor: Tensor, count: int) -> np.ndarray:
        del count
        return tensor.cpu().numpy()
