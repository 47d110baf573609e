"""What a stage sees of a task: its data, its network, what that learns by, what its outputs mean."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.data import Data
from tao_like.contract.inputs import Input
from tao_like.contract.model import Exportable, ModelT
from tao_like.contract.phase import Phase
from tao_like.contract.predictions import Predictions
from tao_like.contract.trained import TrainedState

SpecT = TypeVar("SpecT", bound=CommonSpec)
CapabilityT = TypeVar("CapabilityT")


class Task(ABC, Generic[SpecT, ModelT]):
    """One kind of problem. Stages work through this class and know nothing else of a task.

    Attributes:
        spec: the resolved spec.
        trained: what a trained model says of itself; None: it is yet to be trained.
        data: samples, targets and labels.
        predictions: what the outputs mean.
    """

    name: ClassVar[str]
    Spec: ClassVar[type[CommonSpec]]
    data: Data
    predictions: Predictions[Any]

    def __init__(self, spec: SpecT, trained: TrainedState | None = None) -> None:
        self.spec = spec
        self.trained = trained

    @property
    @abstractmethod
    def inputs(self) -> dict[str, Input]:
        """What the network takes, by name."""

    @abstractmethod
    def model(self, *, pretrained: bool) -> tuple[ModelT, list[str]]:
        """The network, and what to tell the user of the weights that it starts from.

        Args:
            pretrained: load the weights that the spec names; else they are random, to be filled.
        """

    @abstractmethod
    def phases(self) -> list[Phase[ModelT]]:
        """The steps of a training in order; the same objects at every call."""

    @abstractmethod
    def exports(self, model: ModelT, input_format: str) -> dict[str, Exportable]:
        """The graphs in which the network ships, by name, in the order in which they run."""

    def capabilities(self) -> Iterable[object]:
        """What this task can do beyond what every task can."""
        return ()

    def capability(self, kind: type[CapabilityT]) -> CapabilityT | None:
        """The capability of a kind; None: this task does not have it."""
        return next((one for one in self.capabilities() if isinstance(one, kind)), None)

    @classmethod
    def restored_spec(cls, spec: SpecT, stored: SpecT) -> SpecT:
        """The spec for work with a trained model: the user's, with what the model's own spec decides.

        Args:
            spec: the user's.
            stored: the one that the model was trained with.
        """
        return dataclasses.replace(spec, model=stored.model)  # type: ignore[call-arg,attr-defined]

    @classmethod
    def continued_spec(cls, spec: SpecT, stored: SpecT) -> SpecT:
        """The spec for training a bundle's network again: its architecture, and the user's training.

        Args:
            spec: the user's.
            stored: the one that the network was made with.
        """
        return cls.restored_spec(spec, stored)


AnyTask: TypeAlias = Task[Any, Any]
"""A task of any spec and network, as stages take it."""
