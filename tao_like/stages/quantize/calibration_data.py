"""The training samples that quantize measures on."""

from __future__ import annotations

from collections.abc import Iterator

from tao_like.contract.inputs import preprocess
from tao_like.contract.sample import Preprocessed
from tao_like.contract.task import AnyTask
from tao_like.errors import DatasetError
from tao_like.stages.lib.engines import OnnxEngine
from tao_like.stages.quantize.calibration import Feed


class CalibrationData:
    """Some of the training samples, spread evenly: class folders come one after the other.

    Args:
        task: gives the samples.
        engine: of the fp32 file.
        batch: samples that the file takes in a call.
        most: of the samples.

    Attributes:
        numbers: of the samples in the training data, ascending.

    Raises:
        DatasetError: there is no training data.
    """

    def __init__(self, task: AnyTask, engine: OnnxEngine, batch: int, most: int) -> None:
        if not task.data.has("train"):
            raise DatasetError(
                "quantize takes the ranges of values from training data, and there is none; give "
                f"{task.data.key('train')}"
            )
        available = task.data.count("train")
        count = min(most, available)
        self.numbers = [number * available // count for number in range(count)]
        self.batch = batch
        self._task, self._engine = task, engine

    def __len__(self) -> int:
        return len(self.numbers)

    def batches(self) -> Iterator[Preprocessed]:
        """The samples, as many at a time as the file takes, read anew at each call."""
        for start in range(0, len(self), self.batch):
            numbers = self.numbers[start : start + self.batch]
            yield self._preprocessed(numbers + self.numbers[:1] * (self.batch - len(numbers)))

    def feeds(self) -> Iterator[Feed]:
        """The batches as inputs of the graph."""
        return map(self._engine.feed, self.batches())

    def singles(self, most: int) -> list[Preprocessed]:
        """At most so many of the samples, spread evenly, one at a time."""
        few = self.numbers[:: max(1, len(self) // most)][:most]
        return [self._preprocessed([number]) for number in few]

    def _preprocessed(self, numbers: list[int]) -> Preprocessed:
        dataset = self._task.data.dataset("train")
        return preprocess(self._task.inputs, [dataset.sample(number) for number in numbers])
