"""Operations that an exporter took apart, put together again where training gains from it.

A layer norm, an activation or an attention of many small nodes is slow, and its parts are named after
nothing. Activations are recognised by what they compute, not by how they are written: the function of one
value that a group of nodes makes is tried on numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.builder import Builder, NodeView, Value
from tao_like.byom.graph import Graph, Node, TensorType, bodies
from tao_like.byom.registry import converter

DOMAIN = "tao_like"
"""Of operations that only this module makes."""
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


@dataclass
class _Network:
    """A graph by who makes and who uses each value."""

    graph: Graph
    maker: dict[str, Node] = field(default_factory=dict)
    users: dict[str, list[Node]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            self.maker |= {name: node for name in node.outputs if name}
            for name in {*node.inputs, *(name for body in bodies(node) for name in body.captured())}:
                self.users.setdefault(name, []).append(node)

    def constant(self, name: str) -> Tensor | None:
        """The tensor that a name stands for, where the file holds it."""
        if name in self.graph.constants:
            return self.graph.constants[name]
        node = self.maker.get(name)
        if node is None or node.domain:
            return None
        if node.op == "Identity":
            return self.constant(node.inputs[0])
        value = node.attributes.get("value") if node.op == "Constant" else None
        return value if isinstance(value, Tensor) else None

    def scalar(self, name: str) -> float | None:
        """The one number that a name stands for."""
        value = self.constant(name)
        return float(value.item()) if value is not None and value.numel() == 1 else None

    def alone(self, name: str) -> bool:
        """Whether a value has one user, and is no output."""
        return len(self.users.get(name, [])) == 1 and name not in self.graph.outputs

    def by(self, name: str, *ops: str) -> Node | None:
        """The node that makes a value, where it is one of these and nobody else uses the value."""
        node = self.maker.get(name)
        if node is None or node.domain or node.op not in ops or not self.alone(name):
            return None
        return node

    def split(self, node: Node) -> tuple[str, Tensor] | None:
        """The computed input of a node of two inputs, and the constant one."""
        if len(node.inputs) != 2:
            return None
        for value, other in (node.inputs, node.inputs[::-1]):
            found = self.constant(other)
            if found is not None and self.constant(value) is None:
                return value, found
        return None


def recognise(graph: Graph) -> Graph:
    """The graph with whole operations in place of their parts."""
    for find in (_biases, _activations, _layer_norms, _group_norms, _attentions):
        network = _Network(graph)
        replaced: dict[int, Node] = {}
        gone: set[int] = set()
        places = {id(node): index for index, node in enumerate(graph.nodes)}
        for nodes, whole in find(network):
            indices = {places[id(node)] for node in nodes}
            if indices & (gone | replaced.keys()):
                continue
            last = max(indices)
            replaced[last] = whole
            gone |= indices - {last}
        graph.nodes = [
            replaced.get(index, node) for index, node in enumerate(graph.nodes) if index not in gone
        ]
    return graph


_Found = Iterator[tuple[list[Node], Node]]


def _whole(last: Node, op: str, inputs: list[str], domain: str = "", **attributes: object) -> Node:
    """The node that stands for a group, named after the group's last."""
    return Node(op, inputs, list(last.outputs), dict(attributes), domain, last.name)


# --- linear layers ---


def _biases(network: _Network) -> _Found:
    """MatMul with a constant matrix, and the Add of a constant behind it: a linear layer with its bias."""
    for add in network.graph.nodes:
        parts = network.split(add) if add.op == "Add" and not add.domain else None
        if parts is None:
            continue
        product = network.by(parts[0], "MatMul")
        if product is None or len(product.inputs) != 2:
            continue
        matrix, bias = network.constant(product.inputs[1]), parts[1]
        if matrix is None or matrix.ndim != 2 or network.constant(product.inputs[0]) is not None:
            continue
        if bias.numel() == matrix.shape[1] and bias.ndim and bias.shape[-1] == bias.numel():
            name = add.inputs[1] if add.inputs[0] == parts[0] else add.inputs[0]
            whole = _whole(add, "MatMul", [*product.inputs, name])
            whole.name = product.name
            yield [product, add], whole


# --- activations ---


def _activations(network: _Network) -> _Found:
    """Groups of elementwise nodes that together compute a known function of one value."""
    for root in reversed(network.graph.nodes):
        if root.domain or root.op not in ("Mul", "Div"):
            continue
        for source, group in _groups(network, root):
            found = _function_of(network, source, group, root)
            if found is not None:
                op, kind = found
                attributes = {"approximate": kind} if op == "Gelu" else {}
                yield group, _whole(root, op, [source], **attributes)
                break


def _groups(network: _Network, root: Node) -> Iterator[tuple[str, list[Node]]]:
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


def _between(network: _Network, root: Node, source: str) -> list[Node] | None:
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


def _function_of(network: _Network, source: str, group: list[Node], root: Node) -> tuple[str, str] | None:
    """Which known function a group computes, by trying it."""
    order = {id(node): index for index, node in enumerate(network.graph.nodes)}
    nodes = sorted(group, key=lambda node: order[id(node)])
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


# --- normalisation ---


def _layer_norms(network: _Network) -> _Found:
    """(x - mean) / sqrt(mean((x - mean)^2) + epsilon), with scale and shift where they follow."""
    for division in network.graph.nodes:
        if division.op != "Div" or division.domain:
            continue
        root = network.by(division.inputs[1], "Sqrt")
        total = network.by(root.inputs[0], "Add") if root else None
        parts = network.split(total) if total else None
        if root is None or total is None or parts is None or parts[1].numel() != 1:
            continue
        variance = network.by(parts[0], "ReduceMean")
        square = network.by(variance.inputs[0], "Pow", "Mul") if variance else None
        centred = network.maker.get(division.inputs[0])
        if variance is None or square is None or centred is None or centred.op != "Sub":
            continue
        mean = network.by(centred.inputs[1], "ReduceMean")
        if mean is None or mean.inputs[0] != centred.inputs[0] or not _is_square(network, square, centred):
            continue
        if not all(_over_last(network, one) for one in (mean, variance)):
            continue
        users = network.users.get(centred.outputs[0], [])
        if {id(user) for user in users} != {id(square), id(division)}:
            continue
        group = [mean, centred, square, variance, total, root, division]
        yield _with_scale(network, group, division, centred.inputs[0], float(parts[1].item()))


def _is_square(network: _Network, square: Node, centred: Node) -> bool:
    value = centred.outputs[0]
    if square.op == "Mul":
        return square.inputs == [value, value]
    return square.inputs[0] == value and network.scalar(square.inputs[1]) == 2


def _over_last(network: _Network, mean: Node) -> bool:
    """Whether a mean is over the last axis, which it keeps."""
    axes = mean.attributes.get("axes")
    if axes is None and len(mean.inputs) > 1:
        constant = network.constant(mean.inputs[1])
        axes = None if constant is None else constant.flatten().tolist()
    rank = network.graph.type_of(mean.inputs[0]).rank
    return mean.attributes.get("keepdims", 1) == 1 and axes in ([-1], [] if rank is None else [rank - 1])


def _with_scale(
    network: _Network, group: list[Node], division: Node, source: str, epsilon: float
) -> tuple[list[Node], Node]:
    """A layer norm with the Mul and the Add that follow it."""
    last, inputs = division, [source]
    scale_node = next(iter(network.users.get(division.outputs[0], [])), None)
    if scale_node is not None and network.by(division.outputs[0], "Div") is division:
        scale = network.split(scale_node) if scale_node.op == "Mul" else None
        if scale is not None and scale[1].ndim == 1:
            inputs.append(_other(scale_node, scale[0]))
            group, last = [*group, scale_node], scale_node
            shift_node = next(iter(network.users.get(last.outputs[0], [])), None)
            if shift_node is not None and network.alone(last.outputs[0]) and shift_node.op == "Add":
                shift = network.split(shift_node)
                if shift is not None and shift[1].shape == scale[1].shape:
                    inputs.append(_other(shift_node, shift[0]))
                    group, last = [*group, shift_node], shift_node
    if len(inputs) == 1:
        return group, _whole(last, "PlainLayerNorm", inputs, DOMAIN, epsilon=epsilon)
    return group, _whole(last, "LayerNormalization", inputs, axis=-1, epsilon=epsilon)


def _other(node: Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


def plain_layer_norm(values: Tensor, epsilon: float) -> Tensor:
    """Layer normalisation over the last axis, without scale and shift."""
    return functional.layer_norm(values, values.shape[-1:], eps=epsilon)


@converter("PlainLayerNorm", domain=DOMAIN)
def convert_plain_layer_norm(node: NodeView) -> Value:
    """Layer normalisation without scale and shift."""
    return node.call(plain_layer_norm, node.input(0), node.attribute("epsilon"))


def _group_norms(network: _Network) -> _Found:
    """Groups as channels of an instance norm, and back, with the scale and shift of the channels."""
    for norm in network.graph.nodes:
        if norm.op != "InstanceNormalization" or norm.domain:
            continue
        scale, shift = network.constant(norm.inputs[1]), network.constant(norm.inputs[2])
        before = network.by(norm.inputs[0], "Reshape")
        if (
            before is None
            or scale is None
            or shift is None
            or not bool((scale == 1).all() and (shift == 0).all())
        ):
            continue
        after = next(iter(network.users.get(norm.outputs[0], [])), None)
        if after is None or after.op != "Reshape" or not network.alone(norm.outputs[0]):
            continue
        known = [network.graph.type_of(name).shape for name in (before.inputs[0], after.outputs[0])]
        times = next(iter(network.users.get(after.outputs[0], [])), None)
        if None in known or times is None or times.op != "Mul" or not network.alone(after.outputs[0]):
            continue
        plus = next(iter(network.users.get(times.outputs[0], [])), None)
        if plus is None or plus.op != "Add" or not network.alone(times.outputs[0]):
            continue
        own_scale, own_shift = network.split(times), network.split(plus)
        if own_scale is None or own_shift is None:
            continue
        channels = (known[0] or ())[1:2]
        if (
            channels != (own_scale[1].numel(),)
            or channels != (own_shift[1].numel(),)
            or known[0][1:] != known[1][1:]
        ):  # type: ignore[index]
            continue
        inputs = [before.inputs[0], _other(times, own_scale[0]), _other(plus, own_shift[0])]
        epsilon = norm.attributes.get("epsilon", 1e-5)
        whole = _whole(plus, "GroupNorm", inputs, DOMAIN, groups=scale.numel(), epsilon=epsilon)
        yield [before, norm, after, times, plus], whole


@converter("GroupNorm", domain=DOMAIN)
def convert_group_norm(node: NodeView) -> Value:
    """Group normalisation with scale and shift of each channel."""
    scale, shift = (node.weight(index, role) for index, role in ((1, "affine weight"), (2, "bias")))  # type: ignore[arg-type]
    module = torch.nn.GroupNorm(node.attribute("groups"), scale.numel(), eps=node.attribute("epsilon"))
    module.weight = torch.nn.Parameter(scale.flatten().clone())
    module.bias = torch.nn.Parameter(shift.flatten().clone())
    result: Value = node.module(module, node.input(0))
    return result


# --- attention ---


def _attentions(network: _Network) -> _Found:
    """softmax(scale * q k^T + mask) v."""
    for product in network.graph.nodes:
        if product.op != "MatMul" or product.domain or len(product.inputs) != 2:
            continue
        softmax = network.by(product.inputs[0], "Softmax")
        rank = network.graph.type_of(product.outputs[0]).rank
        if softmax is None or rank is None or softmax.attributes.get("axis", -1) not in (-1, rank - 1):
            continue
        group, scores, mask, factor = [softmax, product], softmax.inputs[0], "", 1.0
        add = network.by(scores, "Add")
        if add is not None:
            left = network.maker.get(add.inputs[0])
            place = 0 if left is not None and left.op in ("Mul", "Div", "MatMul") else 1
            scores, mask = add.inputs[place], add.inputs[1 - place]
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
        inputs = [*first.inputs, product.inputs[1], *([mask] if mask else [])]
        if any(network.graph.type_of(name).rank not in (rank, None) for name in inputs[:3]):
            continue
        yield [*group, first], _whole(product, "ScaledDotProduct", inputs, DOMAIN, scale=factor)


def attend(query: Tensor, key_turned: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention (..., L, E); the keys come turned, (..., E, S)."""
    key = key_turned.transpose(-2, -1)
    if mask is not None:
        mask = mask.to(query.dtype)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


@converter("ScaledDotProduct", domain=DOMAIN)
def convert_attention(node: NodeView) -> Value:
    """Attention."""
    mask = node.input(3) if node.has(3) else None
    if not math.isfinite(node.attribute("scale")):
        raise ValueError("its scale is not finite")
    return node.call(attend, node.input(0), node.input(1), node.input(2), mask, node.attribute("scale"))
