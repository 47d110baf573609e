"""Operations that an exporter took apart, put together again where training gains from it.

A layer norm, an activation or an attention of many small nodes is slow, and its parts are named after
nothing. Activations are recognised by what they compute, not by how they are written: the function of one
value that a group of nodes makes is tried on numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building.builder import Builder
from tao_like.byom.building.registry import converter, taught_in
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.ops.neural.attention import mask_of
from tao_like.byom.patterns.matching import DOMAIN, Found, Network, whole_node
from tao_like.byom.patterns.norms import group_norms, layer_norms
from tao_like.byom.source.graph import Graph, Node, TensorType

_ELEMENTWISE = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Max", "Min"),
    *("Erf", "Tanh", "Sigmoid", "HardSigmoid", "Clip", "Softplus", "Relu"),
}
_CURVED = {"Erf", "Tanh", "Sigmoid", "HardSigmoid", "Clip", "Exp", "Softplus", "Relu"}
_LARGEST_GROUP = 14
_PROBES = torch.linspace(-7, 7, 57, dtype=torch.float64)
_CLOSE = 2e-6
_FUNCTIONS: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {
    ("Gelu", "none"): functional.gelu,
    ("Gelu", "tanh"): lambda values: functional.gelu(values, approximate="tanh"),
    ("Swish", ""): functional.silu,
    ("HardSwish", ""): functional.hardswish,
    ("Mish", ""): functional.mish,
}


def recognise(graph: Graph) -> Graph:
    """The graph with whole operations in place of their parts."""
    for find in (_biases, _activations, layer_norms, group_norms, _attentions):
        network = Network(graph)
        replaced: dict[int, Node] = {}
        gone: set[int] = set()
        for nodes, whole in find(network):
            indices = {network.order[id(node)] for node in nodes}
            if not (gone.isdisjoint(indices) and replaced.keys().isdisjoint(indices)):
                continue
            if any(_is_taught(graph, node) for node in nodes):
                continue
            last = max(indices)
            replaced[last] = whole
            gone |= indices - {last}
        graph.nodes = [
            replaced.get(index, node) for index, node in enumerate(graph.nodes) if index not in gone
        ]
    return graph


def _is_taught(graph: Graph, node: Node) -> bool:
    """Whether the user says what becomes of a node: then it is no part of something else."""
    return taught_in(node.domain, node.op, graph.opsets.get(node.domain, 1)) is not None


# --- linear layers ---


def _biases(network: Network) -> Found:
    """A product or a convolution with constant weights, and the Add of a constant behind it: its bias."""
    for add in network.graph.nodes:
        parts = network.split(add) if add.op == "Add" and not add.domain else None
        if parts is None:
            continue
        layer = network.by(parts[0], "MatMul", "Conv", "ConvTranspose")
        if layer is None or len(layer.inputs) != 2 or network.constant(layer.inputs[0]) is not None:
            continue
        weight = network.constant(layer.inputs[1])
        if weight is not None and _is_bias(layer, weight, parts[1]):
            name = add.inputs[1] if add.inputs[0] == parts[0] else add.inputs[0]
            whole = whole_node(add, layer.op, [*layer.inputs, name], **layer.attributes)
            whole.name = layer.name
            yield [layer, add], whole


def _is_bias(layer: Node, weight: Tensor, bias: Tensor) -> bool:
    """Whether a constant has a value for each output of a layer, and lies along its channels."""
    if layer.op == "MatMul":
        return weight.ndim == 2 and bias.ndim > 0 and bias.shape[-1] == bias.numel() == weight.shape[1]
    width = weight.shape[0] if layer.op == "Conv" else weight.shape[1] * layer.attributes.get("group", 1)
    axis = bias.ndim - (weight.ndim - 1)
    return axis in (0, 1) and bias.shape[axis] == bias.numel() == width


# --- activations ---


def _activations(network: Network) -> Found:
    """Groups of elementwise nodes that together compute a known function of one value."""
    for root in reversed(network.graph.nodes):
        if root.domain or root.op not in ("Mul", "Div"):
            continue
        for source, group in _groups(network, root):
            found = _function_of(network, source, group, root)
            if found is not None:
                op, kind = found
                attributes = {"approximate": kind} if op == "Gelu" else {}
                yield group, whole_node(root, op, [source], **attributes)
                break


def _groups(network: Network, root: Node) -> Iterator[tuple[str, list[Node]]]:
    """Values of which the root may be a function, each with the nodes between; the largest group first."""
    candidates: list[str] = []
    seen: set[str] = set()
    waiting = list(root.inputs)
    while waiting and len(seen) < 2 * _LARGEST_GROUP:
        name = waiting.pop(0)
        if name in seen or network.constant(name) is not None:
            continue
        seen.add(name)
        candidates.append(name)
        node = network.maker.get(name)
        if node is not None and not node.domain and node.op in _ELEMENTWISE:
            waiting += node.inputs
    for source in reversed(candidates):
        group = _between(network, root, source)
        if group is not None and any(node.op in _CURVED for node in group):
            yield source, group


def _between(network: Network, root: Node, source: str) -> list[Node] | None:
    """The nodes from a value to the root, where it is the only way in and the root the only way out."""
    group: dict[int, Node] = {id(root): root}
    waiting, reached = list(root.inputs), False
    while waiting:
        name = waiting.pop()
        if name == source:
            reached = True
            continue
        if not name or network.scalar(name) is not None:
            continue
        node = network.maker.get(name)
        if node is None or node.domain or node.op not in _ELEMENTWISE or name in network.graph.outputs:
            return None
        if id(node) not in group:
            if len(group) == _LARGEST_GROUP:
                return None
            group[id(node)] = node
            waiting += node.inputs
    for node in group.values():
        if node is not root and any(id(user) not in group for user in network.users.get(node.outputs[0], [])):
            return None
    return list(group.values()) if reached and len(group) > 1 else None


def _function_of(network: Network, source: str, group: list[Node], root: Node) -> tuple[str, str] | None:
    """Which known function a group computes, by trying it."""
    nodes = sorted(group, key=lambda node: network.order[id(node)])
    constants = {}
    for node in nodes:
        for name in node.inputs:
            value = network.constant(name) if name != source else None
            if value is not None:
                constants[name] = value.double() if value.is_floating_point() else value
    graph = Graph(
        [source],
        [root.outputs[0]],
        nodes,
        constants,
        {source: TensorType(torch.float64, (len(_PROBES),))},
        network.graph.opsets,
    )
    try:
        with torch.no_grad():
            given = Builder(graph).build().module(_PROBES)
    except Exception:  # Not a function of one value after all: it may fail anywhere.
        return None
    for key, function in _FUNCTIONS.items():
        if isinstance(given, Tensor) and given.shape == _PROBES.shape:
            expected = function(_PROBES)
            if float((given - expected).abs().max()) <= _CLOSE * float(expected.abs().max()):
                return key
    return None


# --- attention ---


def _attentions(network: Network) -> Found:
    """softmax(scale * q k^T + mask) v."""
    for product in network.graph.nodes:
        if product.op != "MatMul" or product.domain or len(product.inputs) != 2:
            continue
        softmax, guards = _softmax_before(network, product.inputs[0])
        rank = network.graph.type_of(product.outputs[0]).rank
        if softmax is None or rank is None or softmax.attributes.get("axis", -1) not in (-1, rank - 1):
            continue
        group, scores, mask, factor = [softmax, *guards, product], softmax.inputs[0], "", 1.0
        add = network.by(scores, "Add")
        if add is not None:
            left = network.maker.get(add.inputs[0])
            side = 0 if left is not None and left.op in ("Mul", "Div", "MatMul") else 1
            scores, mask = add.inputs[side], add.inputs[1 - side]
            group.append(add)
        scaling = network.by(scores, "Mul", "Div")
        if scaling is not None:
            number = network.scalar(scaling.inputs[1])
            if number is None or not number:
                continue
            factor = number if scaling.op == "Mul" else 1 / number
            scores = scaling.inputs[0]
            group.append(scaling)
        first = network.by(scores, "MatMul")
        if first is None or len(first.inputs) != 2 or network.constant(first.inputs[1]) is not None:
            continue
        if network.graph.type_of(first.inputs[0]).rank != rank or rank < 3:
            continue
        sides, more, numbers = _unscaled(network, first.inputs)
        inputs = [*sides, product.inputs[1], mask, *numbers]
        if any(network.graph.type_of(name).rank not in (rank, None) for name in inputs[:3]):
            continue
        whole = whole_node(product, "ScaledDotProduct", inputs, DOMAIN, scale=factor)
        yield [*group, first, *more], whole


def _softmax_before(network: Network, name: str) -> tuple[Node | None, list[Node]]:
    """The softmax that makes a value, and the nodes that put zero in the place of its NaN, if any."""
    softmax = network.by(name, "Softmax")
    choice = network.by(name, "Where")
    if softmax is not None or choice is None or network.scalar(choice.inputs[1]) != 0:
        return softmax, []
    test = network.by(choice.inputs[0], "IsNaN")
    softmax = network.maker.get(choice.inputs[2])
    if test is None or softmax is None or softmax.op != "Softmax" or test.inputs != choice.inputs[2:]:
        return None, []
    users = {id(user) for user in network.users[choice.inputs[2]]}
    return (softmax, [test, choice]) if users == {id(test), id(choice)} else (None, [])


def _unscaled(network: Network, sides: list[str]) -> tuple[list[str], list[Node], list[str]]:
    """Query and keys without the numbers that multiply them, the nodes that do, and the numbers."""
    found, nodes, numbers = [], [], []
    for name in sides:
        node = network.by(name, "Mul")
        if node is None or not network.is_number(node.inputs[1]):
            found.append(name)
            continue
        found.append(node.inputs[0])
        nodes.append(node)
        numbers.append(node.inputs[1])
    return found, nodes, numbers


def attend(
    query: Tensor, key_turned: Tensor, value: Tensor, mask: Tensor | None, scale: float, *factors: Any
) -> Tensor:
    """Attention (..., L, E); the keys come turned, (..., E, S). Factors are numbers, or lists of one."""
    for factor in factors:
        scale *= float(factor[0] if isinstance(factor, list) else factor)
    if mask is not None:
        mask = mask.to(query.dtype)
    trained = mask is not None and mask.requires_grad and torch.is_grad_enabled()
    if trained or query.shape[-1] != value.shape[-1]:
        # No fused kernel takes these, and torch's function is slower without one.
        scores = (query * scale) @ key_turned
        return torch.softmax(scores if mask is None else scores + mask, -1) @ value
    key = key_turned.transpose(-2, -1)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


@converter("ScaledDotProduct", domain=DOMAIN)
def convert_attention(node: NodeView) -> Value:
    """Attention."""
    mask = mask_of(node, 3)
    scale = node.attribute("scale")
    if not math.isfinite(scale):
        raise ValueError("its scale is not finite")
    factors = [node.sizes(index) for index in (4, 5) if node.has(index)]
    return node.call(attend, node.input(0), node.input(1), node.input(2), mask, scale, *factors)
