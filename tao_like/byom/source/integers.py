"""Whole-number products of quantised files, spelled out: as products of floats between roundings.

What is left then are pairs of QuantizeLinear and DequantizeLinear, of which the rounding is left out like
that of any other quantised file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_FLOAT = onnx.TensorProto.FLOAT
_PRODUCTS = {
    "QLinearConv": "Conv",
    "QLinearMatMul": "MatMul",
    "ConvInteger": "Conv",
    "MatMulInteger": "MatMul",
}
_ONNXRUNTIME = "com.microsoft"
_TRIPLE = 3
"""A whole-number value comes as three inputs: itself, its scale, its zero point."""
_BETWEEN = {
    "QLinearAdd": "Add",
    "QLinearAveragePool": "AveragePool",
    "QLinearConcat": "Concat",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearMul": "Mul",
    "QLinearSigmoid": "Sigmoid",
    "QLinearSoftmax": "Softmax",
    "QLinearWhere": "Where",
}
"""Operations of onnxruntime that its quantising tool writes between products, and what they are in floats."""
_MOVING = frozenset(
    [
        *("DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice"),
        *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    ]
)
"""Operations that give whole numbers as they came, elsewhere; of floats they give the same floats."""
_GEMM = "QGemm"
_OWN_ATTRIBUTES = ("channels_last", "opset")


def spelled_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float products in the place of whole-number ones; itself where it has none.

    What onnxruntime's own tool writes between them, ``QLinearAdd`` and its like, is spelled out too.
    ``ConvInteger`` and ``MatMulInteger`` are taken where a Cast to float follows, as quantising tools write
    them.
    """
    if not _has_whole(model.graph.node):
        return model
    free = onnx.ModelProto()
    free.CopyFrom(model)
    nodes = _Spelling(free).nodes()
    del free.graph.node[:]
    free.graph.node.extend(nodes)
    del free.graph.value_info[:]
    return free


def _is_standard(node: onnx.NodeProto) -> bool:
    return node.domain in ("", "ai.onnx")


def _is_whole(node: onnx.NodeProto) -> bool:
    """Whether a node computes in whole numbers."""
    if node.domain == _ONNXRUNTIME:
        return node.op_type in (*_BETWEEN, _GEMM)
    return node.op_type in _PRODUCTS and _is_standard(node)


def _has_whole(nodes: Sequence[onnx.NodeProto]) -> bool:
    """Whether there are nodes that compute in whole numbers, or hand such on between rounding and its end."""
    rounded: set[str] = set()
    for node in nodes:
        if _is_whole(node) or (node.op_type in _MOVING and node.input and node.input[0] in rounded):
            return True
        if node.op_type == "QuantizeLinear":
            rounded.update(node.output)
    return False


class _Spelling:
    """Writes the nodes of a graph anew."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {item.name: item for item in model.graph.initializer}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        # Scale of what DynamicQuantizeLinear gives, and the floats that it came from.
        self.dynamic = {
            node.output[0]: (node.input[0], node.output[1])
            for node in model.graph.node
            if node.op_type == "DynamicQuantizeLinear"
        }
        self.outputs = {item.name for item in model.graph.output}
        # Floats, scale and zero point of what has been rounded so far.
        self.rounded: dict[str, list[str]] = {}

    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes, the products spelled out."""
        found: list[onnx.NodeProto] = []
        spell: dict[str, Callable[[onnx.NodeProto], list[onnx.NodeProto] | None]] = {
            **{"QLinearConv": self._linear, "QLinearMatMul": self._linear},
            **{"ConvInteger": self._integer, "MatMulInteger": self._integer},
            **dict.fromkeys(_BETWEEN, self._between),
            _GEMM: self._gemm,
        }
        for node in self.graph.node:
            written = spell[node.op_type](node) if _is_whole(node) else self._moved(node)
            written = [node] if written is None else written
            found += written
            self.rounded |= {
                one.output[0]: list(one.input) for one in written if one.op_type == "QuantizeLinear"
            }
        return found

    def _moved(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """A node that moves whole numbers: it moves their floats, which are rounded behind it."""
        known = self.rounded.get(node.input[0]) if node.input else None
        if known is None or node.op_type not in _MOVING or not _is_standard(node):
            return None
        scale = self.constants.get(known[1])
        is_by_channel = scale is not None and math.prod(scale.dims) != 1
        if is_by_channel or (node.op_type == "MaxPool" and len(node.output) > 1):
            return None
        moved = onnx.NodeProto()
        moved.CopyFrom(node)
        moved.input[0] = known[0]
        names = list(node.output)
        del moved.output[:]
        moved.output.extend(f"{name}_float" if name else "" for name in names)
        ends = [
            helper.make_node("QuantizeLinear", [f"{name}_float", *known[1:]], [name])
            for name in names
            if name
        ]
        return [moved, *ends]

    def _linear(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """DequantizeLinear, the product, QuantizeLinear."""
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = node.input
        name = node.output[0]
        axis = 0 if node.op_type == "QLinearConv" else 1
        parts = [
            helper.make_node("DequantizeLinear", [x, x_scale, x_zero], [f"{name}_x"]),
            helper.make_node("DequantizeLinear", [w, w_scale, w_zero], [f"{name}_w"], axis=axis),
        ]
        inputs = [f"{name}_x", f"{name}_w"]
        if bias and bias[0]:
            inputs.append(self._bias(bias[0], x_scale, w_scale, f"{name}_b", parts))
        product = helper.make_node(_PRODUCTS[node.op_type], inputs, [f"{name}_float"], node.name)
        product.attribute.extend(node.attribute)
        end = helper.make_node("QuantizeLinear", [f"{name}_float", y_scale, y_zero], [name])
        return [*parts, product, end]

    def _floats(self, triple: Sequence[str], name: str, parts: list[onnx.NodeProto], **axis: Any) -> str:
        """The floats of a value, its scale and its zero point, which may be left out.

        Before opset 13, DequantizeLinear has no attribute ``axis``.
        """
        inputs = [one for one in triple if one]
        parts.append(helper.make_node("DequantizeLinear", inputs, [name], **axis))
        return name

    def _between(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """DequantizeLinear, the operation, QuantizeLinear."""
        if any(item.name == "channels_last" and item.i for item in node.attribute):
            return None
        inputs, name, first = list(node.input), node.output[0], list[str]()
        if node.op_type == "QLinearConcat":
            inputs = inputs[2:] + inputs[:2]
        if node.op_type == "QLinearWhere":
            first, inputs = inputs[:1], inputs[1:]
        count = len(inputs) // _TRIPLE
        parts: list[onnx.NodeProto] = []
        floats = [
            self._floats(inputs[_TRIPLE * index : _TRIPLE * (index + 1)], f"{name}_{index}", parts)
            for index in range(count)
        ]
        result = helper.make_node(_BETWEEN[node.op_type], [*first, *floats], [f"{name}_float"], node.name)
        result.attribute.extend(item for item in node.attribute if item.name not in _OWN_ATTRIBUTES)
        ends = [one for one in (f"{name}_float", *inputs[_TRIPLE * count :]) if one]
        return [*parts, result, helper.make_node("QuantizeLinear", ends, [name])]

    def _gemm(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """DequantizeLinear, Gemm, and QuantizeLinear where the result is whole."""
        left, right, rest = node.input[:3], node.input[3:6], [*node.input[6:], "", "", ""]
        settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if settings.get("alpha", 1.0) != 1:
            return None
        name, parts = node.output[0], list[onnx.NodeProto]()
        turned = settings.get("transB", 0)
        inputs = [
            self._floats(left, f"{name}_x", parts),
            self._floats(right, f"{name}_w", parts, **({"axis": 0} if turned else {})),
        ]
        if rest[0]:
            inputs.append(self._bias(rest[0], left[1], right[1], f"{name}_b", parts))
        result = f"{name}_float" if rest[1] else name
        parts.append(
            helper.make_node(
                "Gemm", inputs, [result], node.name, transA=settings.get("transA", 0), transB=turned
            )
        )
        ends = [one for one in (result, *rest[1:3]) if one]
        return [*parts, helper.make_node("QuantizeLinear", ends, [name])] if rest[1] else parts

    def _bias(self, bias: str, x_scale: str, w_scale: str, name: str, parts: list[onnx.NodeProto]) -> str:
        """A bias in floats: its scale is that of the product."""
        held = [self.constants.get(one) for one in (bias, x_scale, w_scale)]
        if None not in held:
            whole, left, right = (numpy_helper.to_array(one) for one in held if one is not None)
            floats = (whole * left.astype(np.float64) * right).astype(np.float32)
            self.graph.initializer.append(numpy_helper.from_array(floats, name))
            return name
        parts += [
            helper.make_node("Cast", [bias], [f"{name}_whole"], to=_FLOAT),
            helper.make_node("Mul", [x_scale, w_scale], [f"{name}_scale"]),
            helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name]),
        ]
        return name

    def _integer(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The product of values without their zero points, in floats."""
        name = node.output[0]
        casts = self.users.get(name, [])
        if name in self.outputs or any(
            user.op_type != "Cast" or any(item.name == "to" and item.i != _FLOAT for item in user.attribute)
            for user in casts
        ):
            return None
        zeros = [*node.input[2:], "", ""]
        parts: list[onnx.NodeProto] = []
        inputs = [
            self._without_zero(one, zero, f"{name}_{side}", parts)
            for one, zero, side in zip(node.input[:2], zeros, "xw", strict=False)
        ]
        product = helper.make_node(_PRODUCTS[node.op_type], inputs, [name], node.name)
        product.attribute.extend(node.attribute)
        return [*parts, product]

    def _without_zero(self, value: str, zero: str, name: str, parts: list[onnx.NodeProto]) -> str:
        if value in self.dynamic:
            source, scale = self.dynamic[value]
            parts.append(helper.make_node("Div", [source, scale], [name]))
            return name
        held, low = self.constants.get(value), self.constants.get(zero)
        if held is not None and (low is not None or not zero):
            whole = numpy_helper.to_array(held).astype(np.float32)
            if low is not None:
                points = numpy_helper.to_array(low).astype(np.float32)
                # Zero points of a convolution's weight lie along its outputs.
                along = (-1, *[1] * (whole.ndim - 1)) if whole.ndim > 2 and points.size > 1 else points.shape
                whole = whole - points.reshape(along)
            self.graph.initializer.append(numpy_helper.from_array(whole, name))
            return name
        parts.append(helper.make_node("Cast", [value], [f"{name}_whole" if zero else name], to=_FLOAT))
        if zero:
            parts.append(helper.make_node("Cast", [zero], [f"{name}_zero"], to=_FLOAT))
            parts.append(helper.make_node("Sub", [f"{name}_whole", f"{name}_zero"], [name]))
        return name
