"""Choices that a graph has made already: an If whose condition is a constant becomes the branch it takes."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper


def without_decided_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """Puts the branch that is always taken in the place of each If with a constant condition.

    torch's exporter writes such nodes for ``scatter_reduce`` among others, and states shapes for the other
    branch too; onnxruntime warns of those each time it opens the file. Branches inside loops stay.

    Args:
        model: it is changed.
    """
    conditions = _constant_conditions(model.graph)
    while decided := [one for one in model.graph.node if one.op_type == "If" and one.input[0] in conditions]:
        for choice in decided:
            wanted = "then_branch" if conditions[choice.input[0]] else "else_branch"
            (branch,) = (one.g for one in choice.attribute if one.name == wanted)
            position = list(model.graph.node).index(choice)
            model.graph.node.remove(choice)
            for node in reversed(_inlined(branch, choice)):
                model.graph.node.insert(position, node)
            model.graph.initializer.extend(branch.initializer)
        conditions = _constant_conditions(model.graph)
    _drop_unused_constants(model.graph)
    return model


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    """Takes out constants that nothing uses any more: onnxruntime warns of them too."""
    used = _used_names(graph)
    for tensor in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(tensor)
    for node in [one for one in graph.node if one.op_type == "Constant" and one.output[0] not in used]:
        graph.node.remove(node)


def _used_names(graph: onnx.GraphProto) -> set[str]:
    """Names that nodes take or that are outputs, in the graph and in those inside it."""
    names = {output.name for output in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names |= _used_names(inner)
    return names


def _constant_conditions(graph: onnx.GraphProto) -> dict[str, bool]:
    """The constants of one truth value, by name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        values = [one.t for one in node.attribute if node.op_type == "Constant" and one.name == "value"]
        tensors |= dict(zip(node.output, values, strict=False))
    return {
        name: bool(numpy_helper.to_array(tensor).item())
        for name, tensor in tensors.items()
        if tensor.data_type == onnx.TensorProto.BOOL and sum(tensor.dims) <= len(tensor.dims)
    }


def _inlined(branch: onnx.GraphProto, choice: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes of a branch, and what gives its outputs the names that the choice gave them.

    A graph must not use a name of an outer one for another value, so names need no change.
    """
    nodes = list(branch.node)
    for number, (inner, outer) in enumerate(zip(branch.output, choice.output, strict=True)):
        name = f"{choice.name or choice.output[0]}/output{number}"
        nodes.append(helper.make_node("Identity", [inner.name], [outer], name=name))
    return nodes
