"""What scores a task's answers against the truths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from PIL import Image

Answer = Any
"""The task's own answer for one sample, such as the probabilities of its classes."""
_T = TypeVar("_T")


class Metrics(ABC):
    """Scores answers against truths. Collects per sample, so that several processes can be joined."""

    def __init__(self) -> None:
        self._collected: dict[int, tuple[Answer, Any]] = {}
        self._known: dict[str, Any] = {}

    def update(self, indices: Iterable[int], answers: Iterable[Answer], targets: Iterable[Any]) -> None:
        """Takes in a batch; a sample seen twice (padding of the last batch) counts once."""
        for index, answer, target in zip(indices, answers, targets, strict=True):
            self._collected[int(index)] = (answer, target)
        self._known.clear()

    def synchronise(self) -> None:
        """Joins what all processes collected. Every process must call it, with samples or without."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[dict[int, tuple[Answer, Any]]] = [{}] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, self._collected)
            self._collected = {index: value for part in parts for index, value in part.items()}
        self._known.clear()

    def reset(self) -> None:
        """Forgets everything."""
        self._collected.clear()
        self._known.clear()

    def once(self, name: str, work: Callable[[], _T]) -> _T:
        """What ``work`` gives, worked out once until samples change: figures and pictures share it."""
        if name not in self._known:
            self._known[name] = work()
        known: _T = self._known[name]
        return known

    @property
    def collected(self) -> list[tuple[int, Answer, Any]]:
        """(index, answer, truth) of every sample, by index."""
        return [(index, *self._collected[index]) for index in sorted(self._collected)]

    def answered(self) -> list[tuple[int, Answer]]:
        """Number and answer of every sample, in order; a task that cuts samples joins their answers."""
        return [(index, answer) for index, answer, _ in self.collected]

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Name of each figure, such as ``accuracy``, to its value."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """Figures by class and the like, ready for JSON."""

    @abstractmethod
    def pictures(self) -> dict[str, Image.Image]:
        """Pictures such as the confusion matrix."""

    @abstractmethod
    def ranked(self) -> list[int]:
        """Numbers of the samples, as `answered` has them, the worst answered first."""

    @abstractmethod
    def thresholds(self) -> dict[str, Any]:
        """Thresholds that suit these answers best, in the form that the runtime reads."""
