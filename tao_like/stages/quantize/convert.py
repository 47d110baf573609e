"""From a plan and ranges to the int8 graph."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, quantize_dynamic

# The package itself has these two from 1.24 on, and Python 3.10 gets no version after 1.23.
from onnxruntime.quantization.calibrate import TensorData, TensorsData

from tao_like.stages.lib.graphs.folding import sort_nodes
from tao_like.stages.quantize.plan import CARRIER_TYPES, FLOAT_OUTPUT_TYPES, LAYER_TYPES, Plan

_LOWEST_OPSET = 13
"""From here on, QuantizeLinear has a scale for each channel."""


def watched_tensors(model: onnx.ModelProto, plan: Plan) -> set[str]:
    """Names of the tensors whose ranges the conversion needs."""
    chosen = {*plan.layers, *plan.carriers} - plan.dynamic
    nodes = [node for node in model.graph.node if node.name in chosen]
    constants = {tensor.name for tensor in model.graph.initializer}
    return {name for node in nodes for name in (*node.input, *node.output)} - constants - {""}


def to_int8(
    model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, tuple[float, float]], *, reduce_range: bool
) -> onnx.ModelProto:
    """The graph with QuantizeLinear and DequantizeLinear around the operators of the plan.

    Weights are int8, symmetric, with a scale for each output channel. Values between the layers are uint8
    with a zero point: onnxruntime's x86 kernels multiply uint8 by int8, and a zero point lets the rounding
    do the work of a ReLU behind a layer. With int8 values instead, ResNet-50 gained 1.2 to 1.3 over fp32
    where uint8 gained 3.1 (docs/decisions.md). Layers of ``plan.dynamic`` become products of integers behind
    a DynamicQuantizeLinear, which takes the range from the values.

    Args:
        model: folded, every node named.
        plan: which operators; at least one layer.
        ranges: smallest and largest value of each tensor of `watched_tensors`.
        reduce_range: weights of 7 bits, so that sums of two products fit in 16 bits.
    """
    limits = TensorsData(
        CalibrationMethod.MinMax,
        {
            name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
            for name, (low, high) in ranges.items()
        },
    )
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with _quiet():
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=limits,
            nodes_to_quantize=[*(name for name in plan.layers if name not in plan.dynamic), *plan.carriers],
            nodes_to_exclude=[],
            op_types_to_quantize=[*LAYER_TYPES, *CARRIER_TYPES],
            extra_options={"OpTypesToExcludeOutputQuantization": list(FLOAT_OUTPUT_TYPES)},
        )
        quantizer.quantize_model()
        quantized: onnx.ModelProto = quantizer.model.model
        if plan.dynamic:
            quantized = _with_dynamic(quantized, plan.dynamic, reduce_range=reduce_range)
    # The quantizer's own sort does not look into loops.
    sort_nodes(quantized)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    del quantized.graph.value_info[:]
    quantized.producer_name, quantized.producer_version = model.producer_name, model.producer_version
    return quantized


def _with_dynamic(model: onnx.ModelProto, names: frozenset[str], *, reduce_range: bool) -> onnx.ModelProto:
    """The graph with these matrix products as products of integers."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "dynamic.onnx"
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=sorted(names),
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(file)


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantizer writes hints about its own options to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
