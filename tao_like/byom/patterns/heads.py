"""Attention layers of an imported network as modules that know their heads, so that heads can be pruned.

What lies between the linear layers of an attention is found by walking from its product, and recognised by
what it computes: the module takes its place only where both give the same for random tokens.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tao_like.byom.building import sizes
from tao_like.byom.building.network import called_module
from tao_like.byom.building.roles import Use
from tao_like.byom.ops.neural.attention import attention
from tao_like.byom.ops.tensor.shaping import expand, reshape, slice_axes, squeeze, unsqueeze
from tao_like.byom.patterns.editing import calls_by_module, drop_unused, free_path
from tao_like.byom.patterns.recognition import attend

_BETWEEN = {
    *(torch.permute, torch.flatten, torch.unsqueeze, torch.mul, torch.div, Tensor.reshape, Tensor.split),
    *(operator.getitem, reshape, slice_axes, squeeze, unsqueeze),
}
"""Functions that only move values, or multiply them with a number."""
_BATCH, _TOKENS = 2, 5
_CLOSE = 1e-4
_MOST_NODES = 40
"""More nodes than these between two layers are no attention."""


class ImportedAttention(nn.Module):
    """Attention over tokens, of which each head can be taken away.

    Args:
        qkv: rows for queries, keys and values, each divided into heads.
        proj: joins the heads.
        num_heads: how many.
        scale: of the scores.
    """

    def __init__(self, qkv: nn.Linear, proj: nn.Linear, num_heads: int, scale: float) -> None:
        super().__init__()
        self.qkv, self.proj = qkv, proj
        self.num_heads, self.scale = num_heads, scale

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, C) to the same shape."""
        parts = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        result = functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        joined: Tensor = self.proj(result.transpose(1, 2).flatten(2))
        return joined


@dataclass
class _Found:
    """The nodes of one attention.

    Attributes:
        source: its tokens.
        layers: the linear layers of queries, keys and values: one for all, or three.
        product: the attention itself.
        last: the layer that joins the heads.
    """

    source: fx.Node
    layers: list[fx.Node]
    product: fx.Node
    last: fx.Node


def with_heads(module: fx.GraphModule, uses: Iterable[Use], value_nodes: dict[str, fx.Node]) -> list[Use]:
    """Puts attention layers as modules into a network; gives the uses with their new paths.

    Args:
        module: is changed.
        uses: of the source's constants.
        value_nodes: what computes each value of the source; values that are no longer computed are taken out.
    """
    moved: dict[str, str] = {}
    calls = calls_by_module(module)
    for product in [node for node in module.graph.nodes if node.target in (attend, attention)]:
        found = _around(module, product, calls)
        made = None if found is None else _module_for(module, found)
        if found is not None and made is not None:
            moved |= _put(module, found, made)
    if not moved:
        return list(uses)
    drop_unused(module, value_nodes)
    return [Use(use.name, use.role, moved.get(use.path, use.path)) for use in uses]


def _around(module: fx.GraphModule, product: fx.Node, calls: Counter[str]) -> _Found | None:
    """The layers before and behind an attention, where nothing but order and numbers lies between."""
    query, key, value, mask = product.args[:4]
    if not _hides_nothing(module, mask) or not all(isinstance(one, fx.Node) for one in (query, key, value)):
        return None
    layers = [_layer_before(module, one, calls) for one in (query, key, value)]
    if any(layer is None for layer in layers):
        return None
    known = [layer for layer in layers if layer is not None]
    source = known[0].args[0]
    last = _layer_behind(module, product, calls)
    if last is None or not isinstance(source, fx.Node) or any(layer.args[0] is not source for layer in known):
        return None
    distinct = list(dict.fromkeys(known))
    return _Found(source, distinct, product, last) if len(distinct) in (1, 3) else None


def _hides_nothing(module: fx.GraphModule, mask: Any) -> bool:
    """Whether a mask leaves all scores as they are: there is none, or it is true or zero everywhere."""
    if mask is None:
        return True
    values = _constant(module, mask)
    if values is None or values.requires_grad:
        return False
    return bool(values.all()) if values.dtype == torch.bool else not bool(values.any())


def _constant(module: fx.GraphModule, node: Any) -> Tensor | None:
    """The values of a node, each at least once, where they do not depend on the input."""
    if not isinstance(node, fx.Node):
        return None
    if node.op == "get_attr":
        values: Tensor = operator.attrgetter(str(node.target))(module)
        return values
    if node.target is expand:
        return _constant(module, node.args[0])
    if node.target is torch.where:
        condition, yes, no = (_constant(module, one) for one in node.args)
        if condition is not None and bool(condition.all()):
            return yes
        return no if condition is not None and not bool(condition.any()) else None
    return None


def _is_linear(module: fx.GraphModule, node: fx.Node, calls: Counter[str]) -> bool:
    """Whether a node calls a linear layer that nobody else calls."""
    return isinstance(called_module(module, node), nn.Linear) and calls[str(node.target)] == 1


def _layer_before(module: fx.GraphModule, node: Any, calls: Counter[str]) -> fx.Node | None:
    for _ in range(_MOST_NODES):
        if not isinstance(node, fx.Node):
            return None
        if _is_linear(module, node, calls):
            return node
        others = [one for one in node.all_input_nodes[1:] if not sizes.is_size(one)]
        if node.op != "call_function" or node.target not in _BETWEEN or others:
            return None
        node = node.args[0]
    return None


def _layer_behind(module: fx.GraphModule, node: fx.Node, calls: Counter[str]) -> fx.Node | None:
    for _ in range(_MOST_NODES):
        users = [user for user in node.users if not sizes.is_size(user)]
        if len(users) != 1:
            return None
        node = users[0]
        if _is_linear(module, node, calls):
            return node
        if node.op != "call_function" or node.target not in _BETWEEN:
            return None
    return None


def _module_for(module: fx.GraphModule, found: _Found) -> ImportedAttention | None:
    """A module that computes the same as the nodes; None where there is none."""
    layers = [module.get_submodule(str(node.target)) for node in found.layers]
    proj = module.get_submodule(str(found.last.target))
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert isinstance(proj, nn.Linear)
    rows = sum(layer.out_features for layer in linear)
    biases = {layer.bias is None for layer in linear}
    if rows != 3 * proj.in_features or len(biases) > 1:
        return None
    run = _Run(module, found)
    for count in (_TOKENS, *run.numbers()):
        tokens = torch.randn(
            _BATCH, count, linear[0].in_features, generator=torch.Generator().manual_seed(count)
        )
        expected, query = run.on(tokens)
        if expected is None or query is None or query.ndim != 4 or query.shape[0] != _BATCH:
            continue
        heads, width = query.shape[1], query.shape[3]
        if heads * width != proj.in_features:
            return None
        made = ImportedAttention(_joined(linear), proj, heads, run.scale(width))
        with torch.no_grad():
            actual = made.train(module.training)(tokens)
        same = actual.shape == expected.shape and torch.allclose(
            actual, expected, rtol=0, atol=_CLOSE * float(expected.abs().max())
        )
        return made if same else None
    return None


def _joined(layers: list[nn.Linear]) -> nn.Linear:
    """One layer in place of several of the same input."""
    if len(layers) == 1:
        return layers[0]
    weight = torch.cat([layer.weight.detach() for layer in layers])
    whole = nn.Linear(weight.shape[1], weight.shape[0], bias=layers[0].bias is not None, device="meta")
    whole.weight = nn.Parameter(weight)
    if layers[0].bias is not None:
        whole.bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]))
    return whole


class _Run:
    """The nodes of an attention, run on tokens of any number."""

    def __init__(self, module: fx.GraphModule, found: _Found) -> None:
        self.module, self.found = module, found
        needed: set[fx.Node] = set()
        waiting = [found.last]
        while waiting:
            node = waiting.pop()
            if node in needed or node is found.source:
                continue
            needed.add(node)
            # What asks for the size of a value from elsewhere gets the batch.
            waiting += [] if self._is_foreign(node) else node.all_input_nodes
        self.nodes = _in_order(found.last, needed)

    def _is_foreign(self, node: fx.Node) -> bool:
        return sizes.is_size(node) and not self._leads_back(node)

    def _leads_back(self, node: fx.Node) -> bool:
        """Whether sizes are those of the tokens, or of what is made of them."""
        seen: set[fx.Node] = set()
        waiting = list(node.all_input_nodes)
        while waiting:
            one = waiting.pop()
            if one in (self.found.source, *self.found.layers, self.found.product):
                return True
            if one not in seen and (sizes.is_size(one) or one.target in _BETWEEN):
                seen.add(one)
                waiting += one.all_input_nodes
        return False

    def numbers(self) -> list[int]:
        """Numbers in the code, of which one may be that of the tokens."""
        items = (item for node in self.nodes for item in torch.utils._pytree.tree_leaves(node.args[1:]))
        return list(dict.fromkeys(item for item in items if type(item) is int and item > 1))

    def scale(self, width: int) -> float:
        """The factor of the scores; numbers that multiply queries and keys before are counted by running."""
        given = self._factor
        return width**-0.5 if given is None else given

    def on(self, tokens: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The result and the queries of the product; None where they cannot take so many tokens."""
        values: dict[fx.Node, Any] = {self.found.source: tokens}
        try:
            with torch.no_grad():
                for node in self.nodes:
                    if self._is_foreign(node):
                        values[node] = _BATCH
                        continue
                    if node.op == "get_attr":
                        values[node] = operator.attrgetter(str(node.target))(self.module)
                        continue
                    arguments = fx.node.map_arg(node.args, lambda one: values[one])
                    settings = fx.node.map_arg(node.kwargs, lambda one: values[one])
                    called = called_module(self.module, node)
                    function = node.target if called is None else called
                    assert callable(function)
                    values[node] = function(*arguments, **settings)
        except Exception:  # other numbers of tokens may fail anywhere in torch
            return None, None
        product = self.found.product
        given: Any = fx.node.map_arg(product.args, lambda one: values[one])
        self._factor = self._measured(given, values)
        query = given[0]
        if query.ndim == 3 and product.target is attention:
            query = query.unflatten(2, (given[5][0], -1)).transpose(1, 2)
        return values[self.found.last], query

    def _measured(self, arguments: tuple[Any, ...], values: dict[fx.Node, Any]) -> float | None:
        """The scale of the scores, with what multiplies queries and keys on their way from the layers."""
        scale, *factors = arguments[4], *(arguments[5:] if self.found.product.target is attend else ())
        for factor in factors:
            scale *= float(factor[0] if isinstance(factor, list | tuple) else factor)
        if scale is None:
            scale = arguments[0].shape[-1] ** -0.5 if arguments[0].ndim == 4 else None
        if scale is None:
            return None
        layers = self.found.layers
        sources = [values[layers[0]], values[layers[min(1, len(layers) - 1)]]]
        if len(layers) == 1:
            sources = list(sources[0].chunk(3, -1)[:2])
        for given, made in zip(sources, arguments[:2], strict=True):
            scale *= float(made.norm() / given.norm())
        return float(scale)


def _in_order(last: fx.Node, needed: set[fx.Node]) -> list[fx.Node]:
    """Nodes of a graph in the order in which they run, the last of them given: most stand close before it."""
    found: list[fx.Node] = []
    node = last
    while len(found) < len(needed):
        if node in needed:
            found.append(node)
        node = node.prev
    return found[::-1]


def _put(module: fx.GraphModule, found: _Found, made: ImportedAttention) -> dict[str, str]:
    """Puts a module in the place of the nodes; gives old paths with their new ones."""
    joins = str(found.last.target)
    path = free_path(module, joins.rpartition(".")[0], "attention")
    module.add_submodule(path, made)
    with module.graph.inserting_before(found.last):
        call = module.graph.call_module(path, (found.source,))
    found.last.replace_all_uses_with(call)
    moved = {str(node.target): f"{path}.qkv" for node in found.layers}
    return moved | {joins: f"{path}.proj"}
