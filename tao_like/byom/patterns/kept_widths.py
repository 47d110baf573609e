"""Layers of attentions whose heads nobody has recognised: their width is that of all heads, and stays."""

from __future__ import annotations

import torch
from torch import fx, nn

from tao_like.byom.building import sizes
from tao_like.byom.building.network import called_module
from tao_like.byom.ops.neural.attention import attention, full_attention
from tao_like.byom.patterns.recognition import attend

_MOST_NODES = 400


class LinearOfHeads(nn.Linear):
    """A linear layer whose outputs the network's code divides among heads."""


class Conv2dOfHeads(nn.Conv2d):
    """A convolution whose outputs the network's code divides among heads."""


_KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: LinearOfHeads, nn.Conv2d: Conv2dOfHeads}
"""Pruning leaves modules with these names whole."""


def keep_widths_of_heads(module: fx.GraphModule) -> None:
    """Marks the layers from which attention scores and their values come."""
    starts: list[fx.Node] = []
    for node in module.graph.nodes:
        if node.target in (attend, attention, full_attention):
            starts += node.all_input_nodes
        elif node.target is torch.softmax:
            # A softmax without a product behind it gives classes.
            for product in (user for user in node.users if user.target is torch.matmul):
                starts += product.all_input_nodes
    for node in _layers_before(module, starts):
        layer = module.get_submodule(str(node.target))
        if type(layer) in _KINDS:
            layer.__class__ = _KINDS[type(layer)]


def _layers_before(module: fx.GraphModule, starts: list[fx.Node]) -> list[fx.Node]:
    found: list[fx.Node] = []
    waiting, seen = list(starts), set[fx.Node]()
    while waiting and len(seen) < _MOST_NODES * max(len(starts), 1):
        node = waiting.pop()
        if node in seen or sizes.is_size(node):
            continue
        seen.add(node)
        if isinstance(called_module(module, node), nn.Linear | nn.Conv2d):
            found.append(node)
        else:
            waiting += node.all_input_nodes
    return found
