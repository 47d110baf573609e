"""What a stage sees of a task: its data, its network, what that learns by, what its outputs mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
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

    A subclass takes ``(spec, trained=None)``, builds its components and hands them to ``compose``.

    Attributes:
        spec: the resolved spec.
        trained: what a trained model says of itself; None: it is yet to be trained.
        data: samples, targets and labels.
        inputs: what the network takes, by name.
        predictions: what the outputs mean.
    """

    name: ClassVar[str]
    Spec: ClassVar[type[CommonSpec]]
    stored_dataset_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of the dataset block that are a model's affair, not the user's: how samples are preprocessed."""
    late_dataset_keys: ClassVar[tuple[str, ...]] = ()
    """Blocks among them that a user may still enable for a model that was trained without."""
    continued_model_keys: ClassVar[tuple[str, ...]] = ()
    """Keys below the model block that are the user's where a trained network is trained again."""
    data: Data
    predictions: Predictions[Any]

    def __init__(self, spec: SpecT, trained: TrainedState | None = None) -> None:
        self.spec = spec
        self.trained = trained

    def compose(
        self,
        *,
        data: Data,
        inputs: dict[str, Input],
        predictions: Predictions[Any],
        phases: Sequence[Phase[ModelT]],
        capabilities: Iterable[object] = (),
    ) -> None:
        """Takes the components; called once, at the end of ``__init__``.

        Args:
            data: see the attributes.
            inputs: see the attributes.
            predictions: see the attributes.
            phases: the steps of a training in order.
            capabilities: what can do more, beyond the task itself and its components.
        """
        self.data = data
        self.inputs = inputs
        self.predictions = predictions
        self._phases = list(phases)
        self._capabilities = [self, data, predictions, *phases, *inputs.values(), *capabilities]

    @abstractmethod
    def model(self, *, pretrained: bool) -> tuple[ModelT, list[str]]:
        """The network, and what to tell the user of the weights that it starts from.

        Args:
            pretrained: load the weights that the spec names; else they are random, to be filled.
        """

    def phases(self) -> list[Phase[ModelT]]:
        """The steps of a training in order."""
        return self._phases

    @abstractmethod
    def exports(self, model: ModelT, input_format: str) -> dict[str, Exportable]:
        """The graphs in which the network ships, by name, in the order in which they run."""

    def capability(self, kind: type[CapabilityT]) -> CapabilityT | None:
        """What can do something of a kind, be it the task or a part of it; None: nothing can."""
        return next((one for one in self._capabilities if isinstance(one, kind)), None)

    @classmethod
    def restored_spec(cls, spec: SpecT, stored: SpecT) -> SpecT:
        """The spec for work with a trained model: the user's, with what the model's own spec decides.

        Args:
            spec: the user's.
            stored: the one that the model was trained with.
        """
        own = {name: getattr(stored.dataset, name) for name in cls.stored_dataset_keys}  # type: ignore[attr-defined]
        for name in cls.late_dataset_keys:
            if not own[name].enable:
                own[name] = getattr(spec.dataset, name)  # type: ignore[attr-defined]
        dataset = replace(spec.dataset, **own)  # type: ignore[attr-defined]
        return replace(spec, model=stored.model, dataset=dataset)  # type: ignore[call-arg,attr-defined]

    @classmethod
    def continued_spec(cls, spec: SpecT, stored: SpecT) -> SpecT:
        """The spec for training a bundle's network again: its architecture, and the user's training.

        Args:
            spec: the user's.
            stored: the one that the network was made with.
        """
        restored = cls.restored_spec(spec, stored)
        model = restored.model  # type: ignore[attr-defined]
        for key in cls.continued_model_keys:
            model = _with_value(model, key.split("."), spec.model)  # type: ignore[attr-defined]
        return replace(restored, model=model)  # type: ignore[call-arg]


def _with_value(block: Any, names: Sequence[str], source: Any) -> Any:
    """A block of a spec with the value of another one like it at the end of some names."""
    name, *rest = names
    value = getattr(source, name)
    return replace(block, **{name: _with_value(getattr(block, name), rest, value) if rest else value})


AnyTask: TypeAlias = Task[Any, Any]
"""A task of any spec and network, as stages take it."""
