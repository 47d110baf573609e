"""Channels that begin and end inside one module: they can go without any layer outside of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from tao_like.contract.model import HasInnerChannels
from tao_like.stages.prune.units import ChannelGroup, Item, Share, Unit


class InnerChannelsUnit(ChannelGroup):
    """The inner channels of a module.

    With a group norm among its layers an element is one group of it, so that the others keep their mean and
    deviation; else it is one channel.

    Args:
        name: of the module.
        module: says which of its layers give and take them.
        granularity: as many channels stay as a multiple of this, where a group has fewer.
    """

    def __init__(self, name: str, module: HasInnerChannels, granularity: int) -> None:
        inner = module.inner_channels()
        prefix = f"{name}." if name else ""
        self.owner = name
        self.inner = inner
        self.channels = inner.count
        self.divisions = 1
        self.width = inner.count // inner.norm.num_groups if inner.norm is not None else 1
        self.size = inner.count // self.width
        self.step = granularity // math.gcd(granularity, self.width)
        names = {part: key for key, part in _modules_of(module).items()}
        elements = torch.arange(self.channels) // self.width
        self.items = []
        for layer, copies in inner.makers.items():
            channels = torch.arange(copies * self.channels)
            self.items.append(Item(prefix + names[layer], layer, True, channels, elements.repeat(copies)))
        for layer in inner.readers:
            channels = torch.arange(self.channels)
            self.items.append(Item(prefix + names[layer], layer, False, channels, elements))
        self.name = self.items[0].name
        self.shares = [
            Share(item.layer, item.output, self.width * len(item.channels) // self.channels)
            for item in self.items
        ]

    def remove(self, elements: Sequence[int]) -> None:
        """Takes elements away from every layer."""
        for item in self.items:
            kept = item.channels[~torch.isin(item.roots, torch.tensor(elements))]
            layer = item.layer
            _cut(layer, "weight", 0 if item.output else 1, kept)
            if item.output:
                _cut(layer, "bias", 0, kept)
            side = "out" if item.output else "in"
            kind = "features" if isinstance(layer, nn.Linear) else "channels"
            setattr(layer, f"{side}_{kind}", len(kept))
        norm = self.inner.norm
        if norm is not None:
            gone = torch.isin(torch.arange(self.channels) // self.width, torch.tensor(elements))
            for name in ("weight", "bias"):
                _cut(norm, name, 0, (~gone).nonzero().flatten())
            norm.num_groups -= len(elements)
            norm.num_channels = norm.num_groups * self.width

    def silence(self, network: nn.Module, elements: Sequence[int]) -> None:
        """Lets what reads these channels, in another copy of the network, see nothing but zero."""
        for item in self.items:
            if not item.output:
                gone = item.channels[torch.isin(item.roots, torch.tensor(elements))]
                weight = network.get_submodule(item.name).weight
                assert isinstance(weight, nn.Parameter)
                weight.data.index_fill_(1, gone, 0.0)


def inner_units(network: nn.Module, *, granularity: int, excluded: Iterable[nn.Module] = ()) -> list[Unit]:
    """The inner channels of all modules of a network that tell of such.

    Args:
        network: it is not run.
        granularity: as many channels stay as a multiple of this.
        excluded: modules that must not shrink on any side.
    """
    untouchable = {part for module in excluded for part in module.modules()}
    units: list[Unit] = []
    for name, module in network.named_modules():
        if not isinstance(module, HasInnerChannels):
            continue
        inner = module.inner_channels()
        if untouchable.isdisjoint({*inner.makers, *inner.readers}):
            units.append(InnerChannelsUnit(name, module, granularity))
    return units


def _modules_of(module: HasInnerChannels) -> dict[str, nn.Module]:
    assert isinstance(module, nn.Module)
    return dict(module.named_modules())


def _cut(layer: nn.Module, name: str, dimension: int, kept: Tensor) -> None:
    """Leaves of a parameter, if there is one of that name, the given places of a dimension."""
    parameter = getattr(layer, name, None)
    if isinstance(parameter, nn.Parameter):
        values = parameter.detach().index_select(dimension, kept.to(parameter.device)).clone()
        setattr(layer, name, nn.Parameter(values, requires_grad=parameter.requires_grad))
