"""Shapes of a model's values, as onnx infers them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

_LARGEST_SHAPE = 1024
"""Constants with more elements than this are no shapes; inference does not need their values."""
IMAGE_CHANNELS = (1, 3, 4)
"""Of images: gray, colors, and colors with a fourth channel."""
IMAGE_AXES = 4


def is_channels_last(shape: Sequence[object]) -> bool:
    """Whether an image input is (N, H, W, C); where sizes are open, what is not a number is no channel."""
    return len(shape) == IMAGE_AXES and shape[3] in IMAGE_CHANNELS and shape[1] not in IMAGE_CHANNELS


def size_axes(shape: Sequence[object]) -> tuple[int, int]:
    """The axes of height and width of an image input."""
    return (1, 2) if is_channels_last(shape) else (2, 3)


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


def real_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller gives: older files list their initializers too."""
    constants = {item.name for item in model.graph.initializer}
    return [item for item in model.graph.input if item.name not in constants]
