"""Where a network's features branch to its heads: the outputs of a foreign detector are no features.

A head at a stride ends in a layer with weights whose map is at that stride and behind which no other layer
with weights comes. The features of a stride are the last map there from which all its heads follow.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

import torch
from torch import fx, nn

from tao_like.byom.building.network import called_module
from tao_like.byom.ops.neural.vision import max_roi_pool, roi_align, suppress

_REGIONS = (roi_align, max_roi_pool)
_CHOOSING = (torch.topk, torch.argmax, torch.sort, torch.nonzero, suppress)
"""What chooses among predictions: no features go on behind it."""


def ends_of_heads(module: fx.GraphModule) -> list[fx.Node]:
    """The layers with weights behind which no other comes, in the order in which they run."""
    leading: set[fx.Node] = set()
    nodes = list(module.graph.nodes)
    layers = {node for node in nodes if _is_layer(module, node)}
    for node in reversed(nodes):
        for user in node.users:
            if user.target in _CHOOSING or (user.target in _REGIONS and user.args[0] is not node):
                continue
            if user in leading or user in layers:
                leading.add(node)
    return [node for node in nodes if node in layers and node not in leading]


def _is_layer(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node has weights that map channels to channels."""
    called = called_module(module, node)
    if called is not None:
        parameters: Iterable[object] = called.parameters()
    elif node.op == "call_function":
        names = (str(one.target) for one in node.all_input_nodes if one.op == "get_attr")
        parameters = (operator.attrgetter(name)(module) for name in names)
    else:
        return False
    return any(isinstance(one, nn.Parameter) and one.ndim > 1 for one in parameters)


def before_all(ends: list[fx.Node]) -> set[fx.Node]:
    """What goes into every one of some layers, directly or through others."""
    found: set[fx.Node] | None = None
    for end in ends:
        reached: set[fx.Node] = set()
        waiting = list(end.all_input_nodes)
        while waiting:
            node = waiting.pop()
            if node not in reached:
                reached.add(node)
                waiting += node.all_input_nodes
        found = reached if found is None else found & reached
    return found or set()
