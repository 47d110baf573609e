"""The ONNX graph before quantization: constants folded, norm layers merged into convolutions, names given."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper, shape_inference

from tao_like.errors import BundleError, ConversionError
from tao_like.runtime.session import graph_session, session_options

QUANTIZED_TYPES = (
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)
_MOST_PASSES = 40
"""Errors are raised."""


def load_float_graph(path: Path, key: str) -> onnx.ModelProto:
    """Reads an ONNX file that is to be quantized.

    Raises:
        BundleError: it is no ONNX file, or holds int8 operators already.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's errors share no base class but this
        raise BundleError(f"{key}: {path} cannot be read as an ONNX file: {error}") from error
    quantized = sum(node.op_type in QUANTIZED_TYPES for node in model.graph.node)
    if quantized:
        raise BundleError(
            f"{key}: {path} is quantized already ({quantized} int8 operators); give the bundle or the fp32 "
            "ONNX file that it came from"
        )
    return model


def fixed_batch(model: onnx.ModelProto) -> int:
    """The batch size that a graph was exported for; 1 where it is open."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    return max(1, axes[0].dim_value) if axes else 1


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with everything computed that does not depend on the input, and shapes for its tensors.

    onnxruntime's basic optimizations fold constants and norm layers and use standard operators only. What
    they leave is arithmetic on the input's shape, such as TensorFlow's padding: height and width are fixed
    here, but with a free batch axis they count as unknown. Each pass makes constants of the known ones; the
    next then knows the shapes behind them.

    Raises:
        ConversionError: onnxruntime cannot load the graph.
    """
    model = _without_output_shapes(_optimized(model))
    for _ in range(_MOST_PASSES):
        model = shape_inference.infer_shapes(model, data_prop=True)
        if not _fix_known_sizes(model):
            break
        model = _without_output_shapes(_optimized(model))
    _drop_unused(model)
    _name_nodes(model)
    _declare_only_what_is_used(model)
    return model


def tensor_shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Sizes of every tensor whose rank is known; None for an axis of open size."""
    shapes: dict[str, list[int | None]] = {}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            shapes[value.name] = [
                axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim
            ]
    for tensor in model.graph.initializer:
        shapes[tensor.name] = list(tensor.dims)
    return shapes


def _optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    """What onnxruntime makes of a graph with optimizations that hold on every machine."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(target)
        try:
            graph_session(model.SerializeToString(), options)
        except Exception as error:  # onnxruntime's errors share no base class but this
            raise ConversionError(f"onnxruntime cannot prepare the graph for int8: {error}") from error
        optimized = onnx.load(target)
    known = {entry.key for entry in optimized.metadata_props}
    for name, value in metadata.items():
        if name not in known:
            optimized.metadata_props.add(key=name, value=value)
    return optimized


def _without_output_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Forgets shapes between the nodes, so that inference states them anew."""
    del model.graph.value_info[:]
    return model


def _fix_known_sizes(model: onnx.ModelProto) -> bool:
    """Puts a constant in the place of each size that is known; False where there was none."""
    shapes = tensor_shapes(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    measured = {node.output[0]: node for node in model.graph.node if node.op_type == "Shape"}
    found = False
    for node in list(model.graph.node):
        value = _known_size(node, measured, shapes, constants)
        if value is None:
            continue
        model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        model.graph.node.remove(node)
        found = True
    return found


def _known_size(
    node: onnx.NodeProto,
    measured: dict[str, onnx.NodeProto],
    shapes: dict[str, list[int | None]],
    constants: dict[str, onnx.TensorProto],
) -> np.ndarray | None:
    """The sizes that a Shape, or a Gather or Slice of one, gives; None where one of them is open."""
    if node.op_type == "Shape":
        return _sizes(_measured_axes(node, shapes))
    if node.op_type not in ("Gather", "Slice") or node.input[0] not in measured:
        return None
    axes = _measured_axes(measured[node.input[0]], shapes)
    operands = [constants.get(name) for name in node.input[1:]]
    if axes is None or None in operands:
        return None
    values = [numpy_helper.to_array(tensor) for tensor in operands if tensor is not None]
    if node.op_type == "Gather":
        chosen = [axes[int(index)] for index in values[0].reshape(-1)]
        sizes = _sizes(chosen)
        return None if sizes is None else sizes.reshape(values[0].shape)
    starts, ends = int(values[0].item()), int(values[1].item())
    step = int(values[3].item()) if len(values) > 3 else 1
    return _sizes(axes[starts:ends:step])


def _measured_axes(node: onnx.NodeProto, shapes: dict[str, list[int | None]]) -> list[int | None] | None:
    shape = shapes.get(node.input[0])
    if shape is None:
        return None
    limits = {attribute.name: attribute.i for attribute in node.attribute}
    return shape[limits.get("start", 0) : limits.get("end", len(shape))]


def _sizes(axes: list[int | None] | None) -> np.ndarray | None:
    if axes is None or any(axis is None for axis in axes):
        return None
    return np.array(axes, dtype=np.int64)


def _drop_unused(model: onnx.ModelProto) -> None:
    """Takes out the nodes whose outputs nobody reads."""
    used = {output.name for output in model.graph.output}
    for node in list(model.graph.node)[::-1]:
        if used.intersection(node.output):
            used.update(_read_names(node))
        else:
            model.graph.node.remove(node)


def _read_names(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that a node reads; the bodies of loops and branches read those around them too."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _read_names(inner)


def sort_nodes(model: onnx.ModelProto) -> None:
    """Puts every node behind those whose outputs it reads, in the bodies of loops too."""
    waiting = list(model.graph.node)
    makers = {name: index for index, node in enumerate(waiting) for name in node.output}
    needs = [{makers[name] for name in _read_names(node) if name in makers} for node in waiting]
    ordered: list[int] = []
    done: set[int] = set()
    for start in range(len(waiting)):
        stack = [start]
        while stack:
            index = stack[-1]
            open_needs = [need for need in sorted(needs[index]) if need not in done and need != index]
            if index in done or not open_needs:
                stack.pop()
                if index not in done:
                    done.add(index)
                    ordered.append(index)
            else:
                stack += open_needs
    nodes = [waiting[index] for index in ordered]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _declare_only_what_is_used(model: onnx.ModelProto) -> None:
    """Takes out the operator sets that onnxruntime declares beside those that the graph uses."""
    used = {node.domain for node in model.graph.node} | {""}
    for item in list(model.opset_import):
        if item.domain not in used:
            model.opset_import.remove(item)


def _name_nodes(model: onnx.ModelProto) -> None:
    """Gives every node a name of its own: layers are chosen and reported by them."""
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{number}"
        taken.add(node.name)


def constant_names(model: onnx.ModelProto) -> set[str]:
    """Names of the tensors that hold fixed values."""
    outputs = (node.output[0] for node in model.graph.node if node.op_type == "Constant")
    return {tensor.name for tensor in model.graph.initializer}.union(outputs)


def float_tensors(model: onnx.ModelProto, names: set[str]) -> Iterator[onnx.ValueInfoProto]:
    """Those of the named tensors that are float32 and computed."""
    for value in (*model.graph.value_info, *model.graph.output, *model.graph.input):
        if value.name in names and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            yield value
