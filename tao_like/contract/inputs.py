"""What a network takes, by name: how the runtime preprocesses each input, and its form as a tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Preprocessed, Sample


class Input(ABC):
    """One input of a task's network."""

    kind: ClassVar[str]
    """The runtime's word for it, such as ``image``."""
    format: ClassVar[str]
    """The form in which bundles are scored; `export.input_format` may choose another."""

    @property
    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """How the runtime preprocesses it, as JSON."""

    def scaling(self, model: nn.Module) -> dict[str, list[float]]:
        """``mean`` and ``std`` by which the caller scales where the graph does not, for the metadata."""
        del model
        return {"mean": [0.0] * 3, "std": [1.0] * 3}

    @abstractmethod
    def files(self, source: str) -> list[Path]:
        """The files that a file name, folder or pattern stands for. Raises DatasetError."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """The data of a file, as `preprocess` takes it. Raises DatasetError."""

    @abstractmethod
    def dummy(self, generator: np.random.Generator) -> Any:
        """Random data, for comparisons where no real data is at hand."""

    @abstractmethod
    def preprocess(self, data: Sequence[Any]) -> Any:
        """The data of several samples, preprocessed and joined as the runtime does."""

    @abstractmethod
    def of_batch(self, tensor: Tensor, count: int) -> Any:
        """The tensor of a batch of ``count`` samples as the runtime hands it to a model file."""


def preprocess(inputs: Mapping[str, Input], samples: Sequence[Sample]) -> Preprocessed:
    """Samples as the runtime hands them to a model; where they lack some of its inputs, the others."""
    return {
        name: one.preprocess([_data(sample, name, inputs) for sample in samples])
        for name, one in inputs.items()
        if len(inputs) == 1 or all(name in sample.data for sample in samples)
    }


def model_inputs(inputs: Mapping[str, Input], batch: Batch[Any]) -> Preprocessed:
    """A batch of a dataset as the runtime hands it to a model."""
    return {name: one.of_batch(batch.inputs[name], len(batch)) for name, one in inputs.items()}


def dummy_sample(inputs: Mapping[str, Input], seed: int = 0) -> Sample:
    """A sample of random data."""
    generator = np.random.default_rng(seed)
    data = {name: one.dummy(generator) for name, one in inputs.items()}
    return Sample("noise", data if len(data) > 1 else next(iter(data.values())))


def single(preprocessed: Preprocessed) -> Any:
    """The only input of a preprocessed batch."""
    (only,) = preprocessed.values()
    return only


def _data(sample: Sample, name: str, inputs: Mapping[str, Input]) -> Any:
    return sample.data[name] if len(inputs) > 1 else sample.data
