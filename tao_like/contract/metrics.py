"""What scores predictions against targets: a state that batches add to, and its report, computed once."""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

WORST_KEPT = 64
"""Samples whose predictions are kept to be shown, those that are most wrong."""


@dataclass(frozen=True)
class Goal:
    """The one metric that tables, comparisons and the choice of a checkpoint look at.

    Attributes:
        metric: its name in `Report.values`.
        higher_is_better: whether more is better.
    """

    metric: str
    higher_is_better: bool = True

    def gain(self, before: float, after: float) -> float:
        """By how much ``after`` is better than ``before``; minus infinity where it is not a number."""
        if math.isnan(after):
            return -math.inf
        return (after - before) * (1.0 if self.higher_is_better else -1.0)


@dataclass
class Report:
    """What metrics come to.

    Attributes:
        values: name of each metric, such as ``accuracy``, to its value.
        details: values by class and the like, ready for JSON.
        thresholds: those that suit these predictions best, in the form that the runtime reads.
        draw: figures such as the confusion matrix, by name; drawn only where they are asked for.
        notes: what a user must be told of them, such as that a network has collapsed.
    """

    values: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, Any] = field(default_factory=dict)
    draw: Callable[[], dict[str, Image.Image]] = dict
    notes: list[str] = field(default_factory=list)


@dataclass(order=True)
class Worst:
    """A sample and how wrong its prediction is.

    Attributes:
        badness: more is worse.
        order: minus the index, so that of equally wrong ones the first is kept.
        prediction: of the sample.
    """

    badness: float
    order: int
    prediction: Any = field(compare=False)

    @property
    def index(self) -> int:
        """The sample's index in its dataset."""
        return -self.order


class Metrics(ABC):
    """Scores predictions against targets.

    A subclass keeps counts or plain arrays in attributes, never samples: memory must not grow with images.
    It adds to them in ``add``, joins another's in ``merge``, and ``compute`` says what they come to.
    """

    def __init__(self) -> None:
        self.count = 0
        self._worst: list[Worst] = []

    def update(self, indices: Iterable[int], predictions: Iterable[Any], targets: Iterable[Any]) -> None:
        """Takes in samples with their indices in the dataset; each sample once."""
        for index, prediction, target in zip(indices, predictions, targets, strict=True):
            badness = self.add(prediction, target)
            self.count += 1
            self._keep(Worst(float(badness), -int(index), prediction))

    @abstractmethod
    def reported(self) -> Mapping[str, bool]:
        """The names of `Report.values`, and whether higher is better."""

    @abstractmethod
    def add(self, prediction: Any, target: Any) -> float:
        """Takes in one sample, and says how wrong its prediction is, for `worst`: more is worse."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Takes in what another of the same kind has; call it through `join`, which counts."""

    @abstractmethod
    def compute(self) -> Report:
        """What all samples come to."""

    def join(self, other: Metrics) -> None:
        """Takes in the samples of another of the same kind."""
        self.count += other.count
        for one in other._worst:
            self._keep(one)
        self.merge(other)

    def worst(self, limit: int) -> list[tuple[int, Any]]:
        """Index and prediction of the samples that are most wrong, the worst first; at most `WORST_KEPT`."""
        ranked = sorted(self._worst, reverse=True)[:limit]
        return [(one.index, one.prediction) for one in ranked]

    def synchronized(self) -> Metrics:
        """These metrics over all processes, in the order of their ranks. Every process must call it."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self
        gathered: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(gathered, self)
        first, *others = gathered
        for other in others:
            first.join(other)
        joined: Metrics = first
        return joined

    def _keep(self, one: Worst) -> None:
        if len(self._worst) < WORST_KEPT:
            heapq.heappush(self._worst, one)
        else:
            heapq.heappushpop(self._worst, one)
