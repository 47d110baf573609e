"""Shapes of a model's values, and the batch set free where the source fixed it at one."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

_LARGEST_SHAPE = 1024
"""Constants with more elements than this are no shapes; inference does not need their values."""
_BATCH = "batch"
_MARK = 7919
"""A batch that no network has by chance: a prime. As a number it goes through every operation's inference."""
_MOST_ROUNDS = 400


def infer(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A copy of the model without its large weights, with what onnx can say of the types of its values.

    Returns:
        None where onnx cannot: shapes help, and are not needed.
    """
    try:
        return onnx.shape_inference.infer_shapes(skeleton(model), data_prop=True)
    except Exception:  # onnx fails in many ways on graphs that are odd and yet can be run
        return None


def skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large initializers as inputs, so that copies are cheap."""
    small = onnx.ModelProto()
    small.ir_version = max(model.ir_version, 4)
    small.opset_import.extend(model.opset_import)
    small.functions.extend(model.functions)
    graph, source = small.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    declared = {item.name for item in source.initializer}
    graph.input.extend(item for item in source.input if item.name not in declared)
    for item in source.initializer:
        if math.prod(item.dims) <= _LARGEST_SHAPE:
            graph.initializer.append(item)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(item.name, item.data_type, item.dims))
    return small


def free_batch(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model for any number of samples, where the source was written for one.

    The first axis of every input is set free; a Reshape to ``[1, ...]`` of a value that has the batch in
    front keeps its first axis instead. Whether the result is right is for the comparison with
    onnxruntime to say: sample by sample the source must give the same.

    Returns:
        None where the source is not fixed at one sample.
    """
    inputs = real_inputs(model)
    if not inputs or not all(_is_fixed_at_one(item) for item in inputs):
        return None
    free = onnx.ModelProto()
    free.CopyFrom(model)
    for item in real_inputs(free):
        item.type.tensor_type.shape.dim[0].dim_value = _MARK
    # What the source says of its inner values was true for one sample.
    del free.graph.value_info[:]
    for item in free.graph.output:
        if item.type.tensor_type.shape.dim:
            item.type.tensor_type.ClearField("shape")
    done: set[int] = set()
    for _ in range(_MOST_ROUNDS):
        known = infer(free)
        if known is None or not _free_reshapes(free, known, done):
            break
    for item in real_inputs(free):
        item.type.tensor_type.shape.dim[0].dim_param = _BATCH
    return free


def real_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller gives: older files list their initializers too."""
    constants = {item.name for item in model.graph.initializer}
    return [item for item in model.graph.input if item.name not in constants]


def _is_fixed_at_one(item: onnx.ValueInfoProto) -> bool:
    sizes = item.type.tensor_type.shape.dim
    return len(sizes) > 1 and sizes[0].dim_value == 1


def _free_reshapes(model: onnx.ModelProto, known: onnx.ModelProto, done: set[int]) -> bool:
    """Frees the Reshapes of which it is known by now that their input has the batch in front."""
    first = {
        item.name: item.type.tensor_type.shape.dim[0].dim_value
        for item in (*known.graph.value_info, *known.graph.input)
        if item.type.tensor_type.shape.dim
    }
    constants = _small_constants(model)
    changed = False
    for index, node in enumerate(model.graph.node):
        if node.op_type != "Reshape" or index in done or len(node.input) < 2:
            continue
        sizes = constants.get(node.input[1])
        if sizes is None or not len(sizes) or sizes[0] != 1 or first.get(node.input[0]) != _MARK:
            continue
        if any(item.name == "allowzero" and item.i for item in node.attribute):
            continue
        name = f"{node.output[0]}_free_batch"
        model.graph.initializer.append(numpy_helper.from_array(np.array([0, *sizes[1:]], np.int64), name))
        node.input[1] = name
        done.add(index)
        changed = True
    return changed


def _small_constants(model: onnx.ModelProto) -> dict[str, list[int]]:
    found = {}
    for item in model.graph.initializer:
        if item.data_type == onnx.TensorProto.INT64 and len(item.dims) == 1:
            found[item.name] = numpy_helper.to_array(item).tolist()
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value" and len(attribute.t.dims) == 1:
                found[node.output[0]] = numpy_helper.to_array(attribute.t).tolist()
    return found
