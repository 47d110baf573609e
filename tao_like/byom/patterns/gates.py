"""Layers whose halves are used apart, as in SwiGLU (Shazeer 2020): two layers in place of one.

Pruning leaves a layer whole whose outputs are cut at fixed indices. As two layers, a hidden value is a row
of each.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from tao_like.byom.building import sizes
from tao_like.byom.building.network import called_module
from tao_like.byom.building.roles import Use
from tao_like.byom.ops.tensor.shaping import slice_axes, split_evenly
from tao_like.byom.patterns.editing import calls_by_module, drop_unused, free_path
from tao_like.byom.source.graph import Graph

_SIDE = 3
_HALVES = 2


def part_gates(
    module: fx.GraphModule, uses: Iterable[Use], value_nodes: dict[str, fx.Node], graph: Graph
) -> list[Use]:
    """Divides layers of which both halves are used apart; gives the uses with their new paths.

    Args:
        module: is changed.
        uses: of the source's constants.
        value_nodes: what computes each value of the source; values that are no longer computed are taken out.
        graph: the source: how many axes a value has.
    """
    moved: dict[str, list[str]] = {}
    calls = calls_by_module(module)
    ranks = {node: graph.type_of(name).rank for name, node in value_nodes.items()}
    for node in list(module.graph.nodes):
        layer = called_module(module, node)
        if type(layer) is not nn.Linear or layer.out_features % _HALVES:
            continue
        halves = _halves(node, layer.out_features, ranks.get(node)) if calls[str(node.target)] == 1 else None
        if halves is not None:
            moved[str(node.target)] = _divide(module, node, layer, halves, value_nodes)
    if not moved:
        return list(uses)
    drop_unused(module, value_nodes)
    return [Use(use.name, use.role, path) for use in uses for path in moved.get(use.path, [use.path])]


def _halves(layer: fx.Node, width: int, rank: int | None) -> list[fx.Node] | None:
    """The two nodes that cut a layer's output in half, in order; None where anything else uses it."""
    cuts: list[fx.Node] = []
    waiting = list(layer.users)
    seen: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if sizes.is_size(node):
            # What asks for the width may do so for the cuts alone.
            waiting += node.users
        elif node.target in (Tensor.split, split_evenly) and node.args[0] is layer:
            cuts += [user for user in node.users if user.target is operator.getitem]
        elif node.target is slice_axes and node.args[0] is layer:
            cuts.append(node)
        elif node not in cuts:
            return None
    if len(cuts) != _HALVES or rank is None:
        return None
    starts = {start: cut for cut in cuts if (start := _start(cut, layer, width, rank)) is not None}
    return [starts[start] for start in sorted(starts)] if starts.keys() == {0, width // _HALVES} else None


def _start(cut: fx.Node, layer: fx.Node, width: int, rank: int) -> int | None:
    """The first output that a cut takes, where it takes half of them in order; found by trying it."""
    probe = torch.arange(width).expand(*[_SIDE] * (rank - 1), width)
    values: dict[fx.Node, Any] = {layer: probe}

    def value(node: fx.Node) -> Any:
        if node not in values:
            if node.op != "call_function" or not callable(node.target):
                raise ValueError("is no arithmetic")
            arguments = fx.node.map_arg(node.args, value)
            settings = fx.node.map_arg(node.kwargs, value)
            values[node] = node.target(*arguments, **settings)
        return values[node]

    try:
        found = value(cut)
    except Exception:  # another number of axes, or what depends on other values, fails anywhere
        return None
    half = width // _HALVES
    if not isinstance(found, Tensor) or found.shape != (*probe.shape[:-1], half):
        return None
    start = int(found.flatten()[0])
    return start if torch.equal(found, (torch.arange(half) + start).expand(found.shape)) else None


def _divide(
    module: fx.GraphModule,
    node: fx.Node,
    layer: nn.Linear,
    halves: list[fx.Node],
    value_nodes: dict[str, fx.Node],
) -> list[str]:
    """Puts two layers in the place of one; gives their paths."""
    holder, _, name = str(node.target).rpartition(".")
    paths = []
    for number, (cut, rows) in enumerate(zip(halves, layer.weight.detach().chunk(_HALVES), strict=True)):
        part = nn.Linear(layer.in_features, len(rows), bias=layer.bias is not None, device="meta")
        part.weight = nn.Parameter(rows.clone(), requires_grad=layer.weight.requires_grad)
        if layer.bias is not None:
            part.bias = nn.Parameter(layer.bias.detach().chunk(_HALVES)[number].clone())
        path = free_path(module, holder, f"{name}_{number}")
        module.add_submodule(path, part.train(layer.training))
        with module.graph.inserting_before(node):
            call = module.graph.call_module(path, node.args)
        cut.replace_all_uses_with(call)
        value_nodes |= {value: call for value, one in value_nodes.items() if one is cut}
        paths.append(path)
    return paths
