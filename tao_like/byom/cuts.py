"""Where a network can be cut: pooled features, features at each stride, maps before a layer of classes."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from tao_like.byom.branching import before_all, ends_of_heads
from tao_like.byom.building.in_place import keep
from tao_like.byom.building.network import ImportedGraph, called_module
from tao_like.byom.conversion import Imported
from tao_like.byom.measured import value_types
from tao_like.byom.source.shapes import IMAGE_AXES, size_axes
from tao_like.errors import ConversionError

STRIDES = (2, 4, 8, 16, 32, 64)
_FEWEST_CHANNELS = 8
"""A map with fewer channels is a mask or a prediction, not features."""
_NAMED = 3
POOLED = "pooled features"
DENSE = "dense features"
_MOST_CLASS_LAYERS = 4
_VECTOR_AXES = 2
_COARSEST = 8
"""Stride of a segmenter's coarsest predictions."""


@dataclass(frozen=True)
class Cut:
    """A value to cut at.

    Attributes:
        value: the source's name of the value.
        what: ``pooled features``, ``dense features``, or ``stride 8`` and so on.
        shape: with a batch of one.
        channels: width of the features.
        why: what speaks for it, in words.
    """

    value: str
    what: str
    shape: tuple[int, ...]
    channels: int
    why: str = ""


@dataclass(frozen=True)
class Head:
    """The classifier on top of the pooled features.

    Attributes:
        module: path of the layer.
        features: the source's name of its input.
        channels: width of the input.
        classes: width of the output.
        squashed: a softmax or sigmoid follows.
    """

    module: str
    features: str
    channels: int
    classes: int
    squashed: bool


def value_shapes(imported: Imported, inputs: list[Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the source, from a run."""
    return {name: shape for name, (_, shape) in value_types(imported, inputs).items()}


def image_size(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of an image input (N, C, H, W) or (N, H, W, C); None for any other input."""
    if len(shape) != IMAGE_AXES:
        return None
    height, width = size_axes(shape)
    return shape[height], shape[width]


def stride_of(shape: tuple[int, ...], size: tuple[int, int] | None) -> int | None:
    """The stride of a map (N, C, H, W) for images of a height and width; None where it is no such map."""
    if size is None or len(shape) != IMAGE_AXES:
        return None
    for stride in STRIDES:
        wanted = tuple(math.ceil(side / stride) for side in size)
        if shape[2:] == wanted and min(wanted) > 1:
            return stride
    return None


def find_cuts(imported: Imported, shapes: dict[str, tuple[int, ...]]) -> list[Cut]:
    """The values to cut at, those at strides first, the pooled features last.

    At a stride at which heads of a detector end, the features are the last map from which all of these
    heads follow; at any other the last map of all.

    Args:
        imported: the network.
        shapes: as :func:`value_shapes` gives them, for a batch of one.
    """
    size = image_size(shapes[imported.graph.inputs[0]])
    depth = {node: index for index, node in enumerate(imported.module.graph.nodes)}
    ordered = sorted(
        (name for name in shapes if name in imported.value_nodes),
        key=lambda n: depth[imported.value_nodes[n]],
    )
    strides = {name: stride_of(shapes[name], size) for name in ordered}
    names = {imported.value_nodes[name]: name for name in ordered}
    ends = [node for node in ends_of_heads(imported.module) if node in names]
    cuts = []
    for stride in STRIDES:
        maps = [name for name in ordered if strides[name] == stride and shapes[name][1] >= _FEWEST_CHANNELS]
        heads = [node for node in ends if strides[names[node]] == stride]
        common = before_all(heads)
        before = [name for name in maps if imported.value_nodes[name] in common]
        if not maps:
            continue
        chosen, why = maps[-1], "the last map of this stride"
        if before:
            layers = ", ".join(names[node] for node in heads[:_NAMED]) + ", ..." * (len(heads) > _NAMED)
            chosen, why = before[-1], f"what goes into the last layers of the heads here ({layers})"
        cuts.append(Cut(chosen, f"stride {stride}", shapes[chosen], shapes[chosen][1], why))
    head = find_head(imported, shapes)
    if head is not None:
        why = f"what goes into the classifier of {head.classes} classes"
        cuts.append(Cut(head.features, POOLED, shapes[head.features], head.channels, why))
    else:
        cuts += _before_several_heads(imported, shapes, ends)
    return cuts + _before_classes(imported, shapes, ends, size)


def _before_several_heads(
    imported: Imported, shapes: dict[str, tuple[int, ...]], ends: list[fx.Node]
) -> list[Cut]:
    """What goes into classifiers whose scores become one, as those of a distilled DeiT; to be joined."""
    outputs = next(node for node in imported.module.graph.nodes if node.op == "output").all_input_nodes
    names = {node: name for name, node in imported.value_nodes.items()}
    if len(outputs) != 1 or len(shapes.get(names.get(outputs[0], ""), ())) != _VECTOR_AXES:
        return []
    cuts = []
    for node in (one for one in ends if one in before_all(outputs)):
        features = names.get(node.all_input_nodes[0], "")
        shape = shapes.get(features, ())
        if not isinstance(called_module(imported.module, node), nn.Linear) or len(shape) != _VECTOR_AXES:
            return []
        cuts.append(Cut(features, POOLED, shape, shape[1], f"what goes into the classifier '{names[node]}'"))
    return cuts if 1 < len(cuts) <= _MOST_CLASS_LAYERS else []


def _before_classes(
    imported: Imported, shapes: dict[str, tuple[int, ...]], ends: list[fx.Node], size: tuple[int, int] | None
) -> list[Cut]:
    """What goes into the last convolutions on the way to a first output that is a map of classes."""
    output = next(node for node in imported.module.graph.nodes if node.op == "output").all_input_nodes[0]
    names = {node: name for name, node in imported.value_nodes.items()}
    output_shape = shapes.get(names.get(output, ""), ())
    finest = None if size is None else [(size[0] // s, size[1] // s) for s in (1, 2, 4, _COARSEST)]
    if finest is None or not any(output_shape[axis : axis + 2] in finest for axis in (1, 2)):
        return []
    reached = before_all([output]) | {output}
    layers = [node for node in ends if node in reached]
    cuts = []
    for node in layers:
        layer = called_module(imported.module, node)
        features = names.get(node.all_input_nodes[0], "")
        shape = shapes.get(features, ())
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or len(shape) != IMAGE_AXES:
            return []
        if min(shape[2:]) > 1:
            why = f"what goes into '{names[node]}', a layer of {layer.out_channels} classes"
            cuts.append(Cut(features, DENSE, shape, shape[1], why))
    return cuts if 0 < len(cuts) <= _MOST_CLASS_LAYERS else []


_SQUASHING = (torch.softmax, torch.sigmoid, torch.log_softmax)


def find_head(imported: Imported, shapes: dict[str, tuple[int, ...]]) -> Head | None:
    """The last layer with weights on the way to the only output, where pooled features go into it."""
    if len(imported.graph.outputs) != 1:
        return None
    output = next(node for node in imported.module.graph.nodes if node.op == "output")
    node, squashed = output.all_input_nodes[0], False
    while not isinstance(called_module(imported.module, node), nn.Linear | nn.Conv2d):
        squashed = squashed or node.target in _SQUASHING
        # A bias that is added, or a shape that is asked for, is no other way.
        before = [one for one in node.all_input_nodes if one.all_input_nodes]
        if len(before) != 1:
            return None
        node = before[0]
    names = {one: name for name, one in imported.value_nodes.items()}
    features, result = names.get(node.all_input_nodes[0]), names.get(node)
    if features is None or result is None or features not in shapes or len(node.users) != 1:
        return None
    shape = shapes[features]
    if math.prod(shape) != shape[0] * shape[1]:
        return None
    classes = shapes[result][1]
    return Head(str(node.target), features, shape[1], classes, squashed)


def refuse_missing(value: str, known: Container[str]) -> None:
    """Raises a ConversionError where a network has no value of this name."""
    if value not in known:
        raise ConversionError(
            f"there is no value '{value}' to cut at; `tao-like byom inspect` lists values to cut at"
        )


def cut_at(imported: Imported, values: list[str]) -> ImportedGraph:
    """A network from the same inputs to inner values; it shares the modules of the whole one.

    Args:
        imported: the whole network.
        values: names of the source's values.

    Raises:
        ConversionError: there is no such value.
    """
    for value in values:
        refuse_missing(value, imported.value_nodes)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in imported.module.graph.nodes:
        if node.op != "output":
            copies[node] = graph.node_copy(node, lambda one: copies[one])
    outputs = [copies[imported.value_nodes[value]] for value in values]
    for node in outputs:
        keep(node)
    graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    return ImportedGraph(imported.module, graph, class_name="ImportedFeatures")
