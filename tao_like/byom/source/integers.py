"""Whole-number products of quantised files, spelled out: as products of floats between roundings.

What is left then are pairs of QuantizeLinear and DequantizeLinear, of which the rounding is left out like
that of any other quantised file.
"""

from __future__ import annotations

from collections.abc import Callable

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


def spelled_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float products in the place of whole-number ones; itself where it has none.

    ``ConvInteger`` and ``MatMulInteger`` are taken where a Cast to float follows, as quantising tools write
    them.
    """
    if not any(node.op_type in _PRODUCTS and _is_standard(node) for node in model.graph.node):
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

    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes, the products spelled out."""
        found: list[onnx.NodeProto] = []
        spell: dict[str, Callable[[onnx.NodeProto], list[onnx.NodeProto] | None]] = {
            **{"QLinearConv": self._linear, "QLinearMatMul": self._linear},
            **{"ConvInteger": self._integer, "MatMulInteger": self._integer},
        }
        for node in self.graph.node:
            written = spell[node.op_type](node) if node.op_type in spell and _is_standard(node) else None
            found += [node] if written is None else written
        return found

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
