"""Layer and group norms that an exporter took apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building.registry import converter, function_for
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.ops.neural.convolution import fill
from tao_like.byom.patterns.matching import DOMAIN, Found, Network, whole_node
from tao_like.byom.source.graph import Node


def layer_norms(network: Network) -> Found:
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
        centered = network.maker.get(division.inputs[0])
        if variance is None or square is None or centered is None or centered.op != "Sub":
            continue
        mean = network.by(centered.inputs[1], "ReduceMean")
        if mean is None or mean.inputs[0] != centered.inputs[0] or not _is_square(network, square, centered):
            continue
        if not all(_over_last(network, one) for one in (mean, variance)):
            continue
        users = network.users.get(centered.outputs[0], [])
        if {id(user) for user in users} != {id(square), id(division)}:
            continue
        group = [mean, centered, square, variance, total, root, division]
        yield _with_scale(network, group, division, centered.inputs[0], float(parts[1].item()))


def _is_square(network: Network, square: Node, centered: Node) -> bool:
    value = centered.outputs[0]
    if square.op == "Mul":
        return square.inputs == [value, value]
    return square.inputs[0] == value and network.scalar(square.inputs[1]) == 2


def _over_last(network: Network, mean: Node) -> bool:
    """Whether a mean is over the last axis, which it keeps."""
    axes = mean.attributes.get("axes")
    if axes is None and len(mean.inputs) > 1:
        constant = network.constant(mean.inputs[1])
        axes = None if constant is None else constant.flatten().tolist()
    rank = network.graph.type_of(mean.inputs[0]).rank
    return mean.attributes.get("keepdims", 1) == 1 and axes in ([-1], [] if rank is None else [rank - 1])


def _with_scale(
    network: Network, group: list[Node], division: Node, source: str, epsilon: float
) -> tuple[list[Node], Node]:
    """A layer norm with the Mul and the Add that follow it."""
    last, inputs = division, [source]
    scale_node = network.follower(division.outputs[0], "Mul")
    scale = network.split(scale_node) if scale_node else None
    if scale_node is not None and scale is not None and scale[1].ndim == 1:
        inputs.append(_other(scale_node, scale[0]))
        group, last = [*group, scale_node], scale_node
        shift_node = network.follower(last.outputs[0], "Add")
        shift = network.split(shift_node) if shift_node else None
        if shift_node is not None and shift is not None and shift[1].shape == scale[1].shape:
            inputs.append(_other(shift_node, shift[0]))
            group, last = [*group, shift_node], shift_node
    if len(inputs) == 1:
        return group, whole_node(last, "PlainLayerNorm", inputs, DOMAIN, epsilon=epsilon)
    return group, whole_node(last, "LayerNormalization", inputs, axis=-1, epsilon=epsilon)


def _other(node: Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


@function_for("PlainLayerNorm", domain=DOMAIN, epsilon=None)
def plain_layer_norm(values: Tensor, epsilon: float) -> Tensor:
    """Layer normalization over the last axis, without scale and shift."""
    return functional.layer_norm(values, values.shape[-1:], eps=epsilon)


def group_norms(network: Network) -> Found:
    """Groups as channels of an instance norm, and back, with the scale and shift of the channels."""
    for norm in network.graph.nodes:
        if norm.op != "InstanceNormalization" or norm.domain:
            continue
        scale, shift = network.constant(norm.inputs[1]), network.constant(norm.inputs[2])
        before, after = network.by(norm.inputs[0], "Reshape"), network.follower(norm.outputs[0], "Reshape")
        if before is None or after is None or scale is None or shift is None:
            continue
        if not bool((scale == 1).all() and (shift == 0).all()) or not _is_back(network, before, after):
            continue
        times = network.follower(after.outputs[0], "Mul")
        plus = network.follower(times.outputs[0], "Add") if times else None
        own_scale, own_shift = (network.split(one) if one else None for one in (times, plus))
        if times is None or plus is None or own_scale is None or own_shift is None:
            continue
        channels = (network.graph.type_of(before.inputs[0]).shape or ())[1:2]
        if any(channels != (part[1].numel(),) for part in (own_scale, own_shift)):
            continue
        inputs = [before.inputs[0], _other(times, own_scale[0]), _other(plus, own_shift[0])]
        epsilon = norm.attributes.get("epsilon", 1e-5)
        whole = whole_node(plus, "GroupNorm", inputs, DOMAIN, groups=scale.numel(), epsilon=epsilon)
        yield [before, norm, after, times, plus], whole


def _is_back(network: Network, before: Node, after: Node) -> bool:
    """Whether the second Reshape gives the shape that the value had before the first."""
    asked = network.maker.get(after.inputs[1])
    if asked is not None and asked.op == "Shape" and asked.inputs[0] == before.inputs[0]:
        return True
    given, got = (network.graph.type_of(name).shape for name in (before.inputs[0], after.outputs[0]))
    return given is not None and got is not None and given[1:] == got[1:] and None not in given[1:]


@converter("GroupNorm", domain=DOMAIN)
def convert_group_norm(node: NodeView) -> Value:
    """Group normalization with scale and shift of each channel."""
    scale, shift = node.weight(1, "affine weight"), node.weight(2, "bias")
    module = torch.nn.GroupNorm(node.attribute("groups"), scale.numel(), eps=node.attribute("epsilon"))
    fill(module, scale.flatten(), shift.flatten())
    return node.module(module, node.input(0))
