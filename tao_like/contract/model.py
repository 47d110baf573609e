"""A network as stages see it: its parts, the graphs that are exported of it, what pruning must know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from tao_like.contract.sample import Preprocessed

ONLY_PART = "model"
"""The name of the part of a network that is one."""
ModelT = TypeVar("ModelT", bound=nn.Module)


@runtime_checkable
class HasParts(Protocol):
    """A network of several parts, each with its own weights in a bundle."""

    def parts(self) -> dict[str, nn.Module]:
        """Part name to module; together they hold all parameters and buffers, each once."""


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a network by name; one that has no parts is the part ``model`` itself."""
    return model.parts() if isinstance(model, HasParts) else {ONLY_PART: model}


def later_buffers(network: nn.Module) -> set[str]:
    """Names of buffers that weights of earlier versions lack: a module's ``later_buffers`` names its own."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        for name in getattr(module, "later_buffers", ())
    }


def fill_later_buffers(module: nn.Module) -> None:
    """Lets a module load weights without its ``later_buffers``: they keep what they were built with."""

    def fill(owner: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
        for name in getattr(owner, "later_buffers", ()):
            weights.setdefault(f"{prefix}{name}", getattr(owner, name))

    module.register_load_state_dict_pre_hook(fill)


@dataclass
class Exportable:
    """One graph of a network in the form that ships: preprocessed inputs in, named outputs out.

    Attributes:
        module: takes the tensors of ``inputs`` in order, gives the tensors of ``outputs`` in order.
        inputs: name of each input, with the number of its dynamic axes: ``{"image": {0: "batch"}}``.
        outputs: name of each output, with its dynamic axes.
        meanings: output name to a sentence that says what it is.
        to_inputs: turns a preprocessed batch into the module's input tensors.
        one_by_one: the module takes one sample a call, of any length; its outputs have no batch axis.
        takes: names of the task's inputs that ``to_inputs`` reads; None: all of them.
    """

    module: nn.Module
    inputs: dict[str, dict[int, str]]
    outputs: dict[str, dict[int, str]]
    meanings: dict[str, str]
    to_inputs: Callable[[Preprocessed], tuple[Tensor, ...]]
    one_by_one: bool = False
    takes: tuple[str, ...] | None = None


@dataclass
class Prunable:
    """What pruning must know of a part of a network.

    Attributes:
        inputs: example inputs of the part's forward pass, float, a batch of one.
        protected: modules whose outputs keep their number of channels, such as the layer that gives the
            class scores; what comes out of the part is kept in any case.
        refresh: brings what the part's modules say of their own widths up to date after a pruning.
        constants: parameters along which no channels run, such as a graph's adjacency.
        products: multiply-accumulates that follow for each value that a layer gives, outside of any layer,
            such as those with the adjacency.
        inner: only channels inside of modules that tell of such (`HasInnerChannels`) may go; so nothing need
            be followed from layer to layer.
        runs: takes ``inputs`` where the part itself cannot, such as one of several passes; holds the part.
    """

    inputs: tuple[Tensor, ...]
    protected: list[nn.Module]
    refresh: Callable[[], None] = lambda: None
    constants: list[nn.Parameter] = field(default_factory=list)
    products: dict[nn.Module, int] = field(default_factory=dict)
    inner: bool = False
    runs: nn.Module | None = None


@dataclass(frozen=True)
class InnerChannels:
    """Channels that begin and end inside a module.

    Attributes:
        makers: layers that give them, each with how often in turn: 2 where it gives a scale for all and then
            a shift for all.
        readers: layers that take them.
        norm: a group norm between these; None: there is none.
    """

    makers: dict[nn.Linear | nn.Conv2d, int]
    readers: tuple[nn.Linear | nn.Conv2d, ...]
    norm: nn.GroupNorm | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        reader = self.readers[0]
        return reader.in_features if isinstance(reader, nn.Linear) else reader.in_channels


@runtime_checkable
class HasInnerChannels(Protocol):
    """A module whose inner channels may go."""

    def inner_channels(self) -> InnerChannels:
        """These."""
