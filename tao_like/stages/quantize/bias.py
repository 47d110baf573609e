"""Biases that make up for rounded weights: in the mean, a layer gives what it gave in float."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from tao_like.stages.quantize.calibration import Feed, watch, watched_values

CORRECTED_TYPES = ("Conv", "Gemm")
_INT32 = np.iinfo(np.int32)

Array = npt.NDArray[np.float64]


def channel_means(
    model: onnx.ModelProto, layers: Collection[str], feeds: Callable[[], Iterable[Feed]]
) -> dict[str, Array]:
    """The mean of each input channel of the layers, by the name of the input tensor.

    Args:
        model: the float graph.
        layers: names of operators; those without a bias of their own are left out.
        feeds: gives the inputs, each feed of the same weight.
    """
    nodes = [node for node in model.graph.node if node.name in layers and node.op_type in CORRECTED_TYPES]
    names = {node.input[0] for node in nodes}
    session = watch(model, names)
    sums: dict[str, Array] = {}
    count = 0
    for feed in feeds():
        count += 1
        for name, values in watched_values(session, feed, names):
            others = (0, *range(2, values.ndim))
            sums[name] = sums.get(name, np.zeros(values.shape[1])) + values.mean(
                axis=others, dtype=np.float64
            )
    return {name: total / count for name, total in sums.items()}


def correct_biases(
    quantized: onnx.ModelProto, model: onnx.ModelProto, means: Mapping[str, Array]
) -> onnx.ModelProto:
    """Moves the int8 layers' biases by what the rounding of their weights takes off the mean output.

    Empirical bias correction (Nagel et al., Data-free quantization through weight equalization and bias
    correction, 2019): rounding errors of a channel's weights do not cancel where its inputs are all
    positive, as behind a ReLU, and so shift its output.

    Args:
        quantized: of `to_int8`; it is changed.
        model: the float graph that it came from.
        means: of `channel_means`.
    """
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {output: node for node in quantized.graph.node for output in node.output}
    readers: dict[str, int] = {}
    for node in quantized.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    before = {node.name: node for node in model.graph.node}
    for node in quantized.graph.node:
        source = before.get(node.name)
        if source is None or node.op_type not in CORRECTED_TYPES or len(node.input) < 3:
            continue
        weight, bias = (producers.get(name) for name in node.input[1:3])
        if weight is None or bias is None or not (_is_int8(weight, constants) and _is_int8(bias, constants)):
            continue
        # A bias that several layers share cannot suit the inputs of all.
        if source.input[0] not in means or readers[bias.input[0]] > 1 or readers[bias.output[0]] > 1:
            continue
        error = numpy_helper.to_array(weights[source.input[1]]) - _dequantized(weight, constants)
        shift = _mean_output(node, error, means[source.input[0]])
        stored, scale = (numpy_helper.to_array(constants[name]) for name in bias.input[:2])
        moved = np.clip(stored + np.rint(shift / scale), _INT32.min, _INT32.max).astype(np.int32)
        constants[bias.input[0]].CopyFrom(numpy_helper.from_array(moved, bias.input[0]))
    return quantized


def _is_int8(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether it makes floats of a constant of whole numbers."""
    return node.op_type == "DequantizeLinear" and node.input[0] in constants


def _dequantized(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Array:
    """The values that a DequantizeLinear with zero point 0 makes of its constant."""
    values, scale = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[:2])
    axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = -1
    result: Array = values * scale.reshape(shape)
    return result


def _mean_output(node: onnx.NodeProto, kernel: Array, means: Array) -> Array:
    """What a layer with this kernel gives for the mean input, by output channel; padding is not counted."""
    numbers = {one.name: one.i for one in node.attribute}
    if node.op_type == "Gemm":
        matrix = kernel if numbers.get("transB", 0) else kernel.T
        return np.asarray(matrix @ means, np.float64)
    groups = numbers.get("group", 1)
    by_input = kernel.reshape(*kernel.shape[:2], -1).sum(axis=2)
    of_group = means.reshape(groups, -1).repeat(len(kernel) // groups, axis=0)
    return np.asarray((by_input * of_group).sum(axis=1), np.float64)
