"""What pruning can take away from a network: channels that belong together, and heads of attention.

torch-pruning finds which layers share a channel (Fang et al. 2023, DepGraph). What its graph may get wrong is
left out here, and `proof` checks the rest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.contract.model import Prunable
from tao_like.errors import ConversionError
from tao_like.networks.heads import AttentionHeads, attention_heads, attention_modules

# isort: split
import torch_pruning
from torch_pruning import ops

_FIXED_OPERATIONS = (ops._SplitOp, ops._SliceOp, ops._UnbindOp, ops._OutputOp)
"""Channels that reach these must stay: networks write down where they cut, and callers what comes out."""
_KEPT_WHOLE = {
    "EcaModule",
    "CecaModule",
    "GlobalResponseNorm",
    "RmsNorm",
    "RmsNorm2d",
    "RMSNorm",
    "SimpleNorm",
    "LinearOfHeads",
    "Conv2dOfHeads",
}
"""Modules of timm, torch and imported networks that mix channels in ways that nothing here follows: they stay
as they are."""
_MASK = "tao_like_kept_channels"


@dataclass(frozen=True)
class Share:
    """A side of a layer that shrinks with a unit.

    Attributes:
        layer: a convolution or a linear layer, or an attention module (its products).
        output: its output; else its input.
        channels: channels that each element takes away.
    """

    layer: nn.Module
    output: bool
    channels: int


class Unit(Protocol):
    """Elements of a network, each of which can be taken away whole."""

    name: str
    size: int
    """Elements now."""
    step: int
    """As many elements stay as a multiple of this."""
    shares: list[Share]

    def remove(self, elements: Sequence[int]) -> None:
        """Takes elements away."""

    def silence(self, network: nn.Module, elements: Sequence[int]) -> None:
        """Lets elements of another copy of the network carry nothing but zero."""


@dataclass
class Item:
    """A layer that a group of channels passes: which of its channels belong to which of the group."""

    name: str
    layer: Any
    """A module or a bare parameter."""
    output: bool
    channels: Tensor
    roots: Tensor


class ChannelGroup:
    """Channels that all layers of a group must lose together.

    With grouped convolutions in the group an element is one channel in each of their groups, since the
    groups must stay alike.

    Args:
        graph: of torch-pruning.
        root: the layer whose outputs are the group's channels.
        items: all layers of the group.
        divisions: groups of its grouped convolutions and group norms; 1 where there are none.
        granularity: as many channels stay as a multiple of this.
    """

    def __init__(
        self, graph: Any, root: nn.Module, items: list[Item], divisions: int, granularity: int
    ) -> None:
        self._graph = graph
        self.root = root
        self.items = items
        self.divisions = divisions
        self.name = items[0].name
        self.channels = len(items[0].channels)
        self.size = self.channels // divisions
        self.step = granularity // math.gcd(granularity, divisions)
        layers = [item for item in items if isinstance(item.layer, nn.modules.conv._ConvNd | nn.Linear)]
        self.shares = [
            Share(item.layer, item.output, divisions * len(item.channels) // self.channels) for item in layers
        ]

    def _channels_of(self, elements: Sequence[int]) -> list[int]:
        return [part * self.size + element for part in range(self.divisions) for element in elements]

    def remove(self, elements: Sequence[int]) -> None:
        """Takes elements away from every layer of the group."""
        pruner = self._graph.get_pruner_of_module(self.root)
        group = self._graph.get_pruning_group(
            self.root, pruner.prune_out_channels, self._channels_of(elements)
        )
        group.prune()

    def silence(self, network: nn.Module, elements: Sequence[int]) -> None:
        """Sets all that puts something into these channels to zero, in another copy of the network."""
        chosen = torch.zeros(self.channels, dtype=torch.bool)
        chosen[self._channels_of(elements)] = True
        for item in self.items:
            if not item.output or isinstance(item.layer, nn.Parameter):
                continue
            layer = network.get_submodule(item.name)
            index = item.channels[chosen[item.roots]]
            if isinstance(layer, nn.LayerNorm | nn.GroupNorm):
                _normalize_without(layer, index, len(item.channels))
            transposed = getattr(layer, "transposed", False) and layer.groups == 1
            for key, dimension in (("weight", 1 if transposed else 0), ("bias", 0)):
                tensor = getattr(layer, key, None)
                if isinstance(tensor, nn.Parameter):
                    tensor.data.index_fill_(dimension, index, 0.0)


def _normalize_without(layer: nn.LayerNorm | nn.GroupNorm, channels: Tensor, count: int) -> None:
    """Lets a norm that takes its mean over channels do so without some of them, which become zero."""
    mask = getattr(layer, _MASK, None)
    if mask is None:
        mask = torch.ones(count, dtype=torch.bool)
        setattr(layer, _MASK, mask)
        layer.register_forward_hook(_normalized_kept)
    mask[channels] = False


def _normalized_kept(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm | nn.GroupNorm)
    kept = getattr(layer, _MASK).nonzero().flatten()
    scale = None if layer.weight is None else layer.weight[kept]
    shift = None if layer.bias is None else layer.bias[kept]
    # timm's norms for images have their channels in front.
    axis = 1 if isinstance(layer, nn.GroupNorm) or type(layer).__name__.endswith(("2d", "2dFp32")) else -1
    values = given[0].index_select(axis, kept)
    if isinstance(layer, nn.GroupNorm):
        values = functional.group_norm(values, layer.num_groups, scale, shift, layer.eps)
    else:
        moved = values.movedim(axis, -1)
        values = functional.layer_norm(moved, (len(kept),), scale, shift, layer.eps).movedim(-1, axis)
    # Some of timm's norms hold the activation that follows.
    activation = getattr(layer, "act", None)
    values = activation(values) if isinstance(activation, nn.Module) else values
    return torch.zeros_like(output).index_copy(axis, kept, values)


class HeadUnit:
    """The heads of an attention layer."""

    step = 1

    def __init__(self, heads: AttentionHeads) -> None:
        self.heads = heads
        self.name = heads.name
        self.size = heads.count
        self.shares = [
            Share(heads.qkv, True, 3 * heads.size),
            Share(heads.proj, False, heads.size),
            Share(heads.module, True, 1),
        ]

    def remove(self, elements: Sequence[int]) -> None:
        """Takes heads away."""
        self.heads.remove(elements)

    def silence(self, network: nn.Module, elements: Sequence[int]) -> None:
        """Sets the values of these heads to zero, in another copy of the network."""
        qkv = network.get_submodule(f"{self.name}.qkv")
        width = self.heads.size
        start = 2 * self.size * width
        for head in elements:
            rows = slice(start + head * width, start + (head + 1) * width)
            for tensor in qkv.parameters():
                tensor.data[rows] = 0.0


def find_units(
    network: nn.Module, prunable: Prunable, *, granularity: int, excluded: Iterable[nn.Module] = ()
) -> list[Unit]:
    """All that can be taken away from a network.

    Args:
        network: all its parameters must require gradients, which is how it is traced.
        prunable: the task's example inputs and the modules whose outputs must stay.
        granularity: as many channels stay as a multiple of this.
        excluded: modules that must not shrink on any side.

    Returns:
        Channel groups and heads. A group is left out where it reaches what must stay, a fixed cut (a split
        or slice), or the inside of an attention layer, which loses whole heads alone.

    Raises:
        ConversionError: the network cannot be traced.
    """
    kept_outputs = {part for module in prunable.protected for part in module.modules()}
    untouchable = {part for module in excluded for part in module.modules()}
    untouchable |= {module for module in network.modules() if type(module).__name__ in _KEPT_WHOLE}
    inside = {part for _, module in attention_modules(network) for part in module.modules()}
    bare = {parameter for module in (*untouchable, *inside) for parameter in module.parameters(recurse=False)}
    graph = _traced(network, prunable)
    for node in graph.module2node.values():
        if node.module in untouchable | inside or isinstance(node.module, _FIXED_OPERATIONS):
            # A group that comes here is left out, so nothing need be followed from here on; through the
            # windows of some attention layers that would take minutes.
            node.dependencies = []
    groups: list[ChannelGroup] = []
    seen: set[nn.Module] = set()
    for root in list(graph.module2node):
        if not isinstance(root, nn.modules.conv._ConvNd | nn.Linear) or root in seen:
            continue
        if isinstance(root, nn.modules.conv._ConvNd) and root.groups == root.out_channels > 1:
            continue  # A depthwise convolution follows whatever feeds it.
        if root in untouchable | inside | kept_outputs:
            # Its group would be left out. Behind an output it can lead through every pixel of an image.
            continue
        pruner = graph.get_pruner_of_module(root)
        count = pruner.get_out_channels(root)
        group = graph.get_pruning_group(root, pruner.prune_out_channels, list(range(count)))
        items, sound = _items(graph, group)
        seen |= {item.layer for item in items if item.output and isinstance(item.layer, nn.Module)}
        outputs = {item.layer for item in items if item.output}
        layers = {item.layer for item in items}
        divisions = _divisions(items)
        sound = sound and not any(_drags_others(graph, root, channel) for channel in (0, count - 1))
        if sound and divisions and not (outputs & kept_outputs or layers & (untouchable | inside | bare)):
            groups.append(ChannelGroup(graph, root, items, divisions, granularity))
    units: list[Unit] = [*_without_overlaps(groups)]
    units += [HeadUnit(heads) for heads in attention_heads(network) if heads.module not in untouchable]
    order = {name: index for index, (name, _) in enumerate(network.named_modules())}
    return sorted(units, key=lambda unit: order[unit.name])


def _traced(network: nn.Module, prunable: Prunable) -> Any:
    """torch-pruning's graph of a network, found by running it once."""
    learning = [parameter for parameter in prunable.constants if parameter.requires_grad]
    with warnings.catch_warnings(), _without_gradients(learning):
        warnings.simplefilter("ignore")
        try:
            return torch_pruning.DependencyGraph().build_dependency(
                network, example_inputs=tuple(prunable.inputs), verbose=False
            )
        except Exception as error:  # What it does not know, it meets in many ways.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConversionError(
                "this architecture cannot be pruned: its layers cannot be followed from input to output "
                f"({reason[:120]}); take another architecture"
            ) from error


@contextmanager
def _without_gradients(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Keeps parameters out of what autograd, and so the graph, follows."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _drags_others(graph: Any, root: nn.Module, channel: int) -> bool:
    """Whether a channel cannot go without another of the same group, as where copies of it are joined."""
    pruner = graph.get_pruner_of_module(root)
    group = graph.get_pruning_group(root, pruner.prune_out_channels, [channel])
    return any(
        group[number].dep.target.module is root
        and graph.is_out_channel_pruning_fn(group[number].dep.handler)
        and len(group[number].idxs) > 1
        for number in range(len(group))
    )


def _without_overlaps(groups: list[ChannelGroup]) -> list[ChannelGroup]:
    """The groups that fraction no channel with another: two would both take it away."""
    owners: dict[tuple[Any, bool, int], set[int]] = {}
    for number, group in enumerate(groups):
        for item in group.items:
            for channel in item.channels.tolist():
                owners.setdefault((item.layer, item.output, channel), set()).add(number)
    overlapping = {number for found in owners.values() if len(found) > 1 for number in found}
    return [group for number, group in enumerate(groups) if number not in overlapping]


def _items(graph: Any, group: Any) -> tuple[list[Item], bool]:
    """The layers of a group, and whether the graph knows all their channels."""
    items, sound = [], True
    for number in range(len(group)):
        dependency, channels = group[number]
        layer, roots = dependency.target.module, group[number].root_idxs
        if isinstance(layer, _FIXED_OPERATIONS):
            sound = False
        if type(layer).__module__.startswith("torch_pruning"):
            continue  # Not a layer, but an operation between layers.
        name = graph._param_to_name.get(layer) or graph._module2name.get(layer)
        if name is None or len(roots) != len(channels) or any(root is None for root in roots):
            sound = False
            continue
        output = graph.is_out_channel_pruning_fn(dependency.handler)
        own = graph.get_out_channels(layer) if output else graph.get_in_channels(layer)
        if own is not None and max(channels) >= own:
            sound = False  # It counts along another axis, as layers over tokens do.
        if output and not graph.module2node[layer].outputs:
            sound = False  # It gives an output of the network.
        items.append(Item(name, layer, output, torch.tensor(channels), torch.tensor(roots)))
    return items, sound and bool(items)


def _divisions(items: list[Item]) -> int:
    """Into how many like parts the group's channels fall; 0 where they cannot be pruned alike."""
    divisions = 1
    for item in items:
        layer = item.layer
        if isinstance(layer, nn.modules.conv._ConvNd):
            own, channels = layer.groups, layer.out_channels if item.output else layer.in_channels
            if own in (1, layer.out_channels):
                continue
        elif isinstance(layer, nn.GroupNorm):
            own, channels = layer.num_groups, layer.num_channels
        else:
            continue
        # The parts must be those of the layer itself: it has all channels of the group, in order.
        if len(item.channels) != channels or not torch.equal(item.channels, item.roots):
            return 0
        divisions = math.lcm(divisions, own)
    return divisions if len(items[0].channels) % divisions == 0 else 0
