"""Quantised files in floats: pairs of rounding and its end are bridged, rounded weights become floats."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

_ROUNDED, _BACK = "QuantizeLinear", "DequantizeLinear"
_WHOLE = (
    *(onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.INT8, onnx.TensorProto.UINT8),
    *(onnx.TensorProto.INT16, onnx.TensorProto.UINT16, onnx.TensorProto.INT32),
)


def without_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """A quantised model with the values between its operations as floats; itself where it has none.

    Each pair of QuantizeLinear and DequantizeLinear is bridged; weights stay as they were rounded, as floats.
    What was one layer or one attention before it was quantised is one again.
    """
    if not any(node.op_type == _BACK for node in model.graph.node):
        return model
    free = onnx.ModelProto()
    free.CopyFrom(model)
    _bridge(free.graph)
    _weights_as_floats(free.graph)
    # Twice: what ends a rounding goes first, then the rounding that nobody else needs.
    for op in (_BACK, _ROUNDED):
        used = {item.name for item in free.graph.output} | _used(free.graph)
        kept = [node for node in free.graph.node if node.op_type != op or used.intersection(node.output)]
        del free.graph.node[:]
        free.graph.node.extend(kept)
    return free


def _used(graph: onnx.GraphProto) -> set[str]:
    """Names that nodes take, those in branches and loops included."""
    names: set[str] = set()
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                names |= _used(inner) | {item.name for item in inner.output}
    return names


def rounding_notes(model: onnx.ModelProto) -> list[str]:
    """What to tell of each value that a model rounds, and of which the network keeps the floats."""
    held = {item.name: item for item in model.graph.initializer}
    ended = {node.input[0] for node in model.graph.node if node.op_type == _BACK}
    return [
        f"{node.output[0]} was quantised with a scale of "
        f"{numpy_helper.to_array(held[node.input[1]]).flatten()[0].item():.6g}; here it is float"
        for node in model.graph.node
        if node.op_type == _ROUNDED and node.output[0] in ended and node.input[1] in held
    ]


def _bridge(graph: onnx.GraphProto) -> None:
    sources = {node.output[0]: node.input[0] for node in graph.node if node.op_type == _ROUNDED}
    bridges = {
        node.output[0]: sources[node.input[0]]
        for node in graph.node
        if node.op_type == _BACK and node.input[0] in sources
    }
    for node in graph.node:
        for index, name in enumerate(node.input):
            while name in bridges:
                name = bridges[name]
            node.input[index] = name
    outputs = {item.name for item in graph.output}
    for node in graph.node:
        if node.op_type == _BACK and node.output[0] in outputs & bridges.keys():
            node.op_type = "Identity"
            source = bridges[node.output[0]]
            del node.input[:], node.attribute[:]
            node.input.append(source)


def _weights_as_floats(graph: onnx.GraphProto) -> None:
    held = {item.name: item for item in graph.initializer}
    kept, made = list[onnx.NodeProto](), list[onnx.TensorProto]()
    for node in graph.node:
        value = _floats(node, held) if node.op_type == _BACK else None
        if value is None:
            kept.append(node)
        else:
            made.append(numpy_helper.from_array(value, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(made)


def _floats(node: onnx.NodeProto, held: dict[str, onnx.TensorProto]) -> np.ndarray | None:
    """What a DequantizeLinear makes of a constant; None where it is none, or is scaled by blocks."""
    parts = [held.get(name) for name in node.input if name]
    settings = {item.name: item.i for item in node.attribute}
    if None in parts or settings.get("block_size") or parts[0] is None or parts[0].data_type not in _WHOLE:
        return None
    whole, scale, *zero = (numpy_helper.to_array(one) for one in parts if one is not None)
    shape = [1] * whole.ndim
    if scale.size > 1:
        shape[settings.get("axis", 1)] = -1
    difference = whole.astype(np.int64)
    if zero:
        difference = difference - zero[0].astype(np.int64).reshape(shape)
    floats: np.ndarray = difference.astype(scale.dtype) * scale.reshape(shape)
    return floats
