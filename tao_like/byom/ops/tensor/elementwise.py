"""Arithmetic, comparisons and logic, element by element."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tao_like.byom.building.registry import converter, function_for
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.source.graph import dtype_of
from tao_like.errors import ConversionError

_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)

_UNARY: dict[str, Any] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Det": torch.det,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}


@converter(*_UNARY)
def unary(node: NodeView) -> Value:
    """Functions of one value."""
    function = _UNARY[node.node.op]
    whole = node.input(0).type.dtype in _UNSIGNED
    return node.call(_widened(function) if whole else function, node.input(0))


@converter("Identity")
def identity(node: NodeView) -> Value:
    """The value itself."""
    return node.input(0)


def divide(left: Any, right: Any) -> Tensor:
    """Division; of whole numbers it drops the rest, as in C."""
    result: Tensor = torch.true_divide(left, right)
    whole = not any(isinstance(value, float) or _is_float(value) for value in (left, right))
    if whole:
        return torch.div(left, right, rounding_mode="trunc")
    return result


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def power(base: Tensor, exponent: Any) -> Tensor:
    """A power, of the base's type."""
    if not isinstance(exponent, Tensor):
        if base.is_floating_point() and exponent in (0.5, 2.0):
            return torch.sqrt(base) if exponent == 0.5 else base * base
    elif exponent.dtype in _UNSIGNED:
        exponent = exponent.long()
    if not base.is_floating_point() and _is_float(exponent):
        return torch.pow(base.double(), exponent).to(base.dtype)
    return torch.pow(base, exponent).to(base.dtype)


def _widened(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function on unsigned numbers too: torch has it for signed ones only."""

    @functools.wraps(function)
    def apply(*values: Any) -> Tensor:
        kinds = [value.dtype for value in values if isinstance(value, Tensor) and value.dtype in _UNSIGNED]
        if not kinds:
            return function(*values)
        wide = [value.long() if isinstance(value, Tensor) else value for value in values]
        result = function(*wide)
        return result if result.dtype == torch.bool else result.to(kinds[0])

    # The code of a GraphModule finds functions by module and name.
    apply.__name__ = apply.__qualname__ = f"widened_{function.__name__}"
    apply.__module__ = __name__
    return apply


_ARITHMETIC: dict[str, Any] = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul}
_BINARY: dict[str, Any] = {
    "Div": divide,
    "Pow": power,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}
_FLOATS = (None, torch.float32, torch.float64, torch.float16, torch.bfloat16)


@converter(*_ARITHMETIC, *_BINARY)
def binary(node: NodeView) -> Value:
    """Functions of two values, which are broadcast."""
    function = {**_ARITHMETIC, **_BINARY}[node.node.op]
    if node.input(0).type.dtype not in _FLOATS:
        return node.call(_widened(function), node.input(0), node.input(1))
    right = _operand(node, 1, 0)
    left = _operand(node, 0, 1) if isinstance(right, Value) and node.node.op in _ARITHMETIC else node.input(0)
    if node.node.op == "Div" and node.input(0).type.dtype is not None:
        function = torch.div
    return node.call(function, left, right)


def _operand(node: NodeView, index: int, other: int) -> Any:
    """An operand; as a number where it is one and the other decides the result's shape and type."""
    value, rank = node.input(index), node.rank(other)
    constant = value.constant
    if constant is None or constant.numel() != 1 or node.node.op not in (*_ARITHMETIC, "Div", "Pow"):
        return value
    if node.input(other).constant is not None or (constant.ndim and (rank is None or rank < constant.ndim)):
        return value
    return node.scalar(index)


@converter("Mod")
def mod(node: NodeView) -> Value:
    """Remainder, with the divisor's sign or (``fmod``) the dividend's."""
    function = torch.fmod if node.attribute("fmod", 0) else torch.remainder
    return node.call(_widened(function), node.input(0), node.input(1))


@converter("BitShift")
def bit_shift(node: NodeView) -> Value:
    """Bits moved."""
    is_left = node.attribute("direction") == "LEFT"
    function = torch.bitwise_left_shift if is_left else torch.bitwise_right_shift
    return node.call(_widened(function), node.input(0), node.input(1))


def maximum(*values: Tensor) -> Tensor:
    """The largest of several tensors."""
    return functools.reduce(torch.maximum, values)


def minimum(*values: Tensor) -> Tensor:
    """The smallest of several tensors."""
    return functools.reduce(torch.minimum, values)


def total(*values: Tensor) -> Tensor:
    """The sum of several tensors."""
    return functools.reduce(torch.add, values)


def average(*values: Tensor) -> Tensor:
    """The mean of several tensors."""
    return total(*values) / len(values)


_VARIADIC = {"Max": maximum, "Min": minimum, "Sum": total, "Mean": average}


@converter(*_VARIADIC)
def variadic(node: NodeView) -> Value:
    """Functions of any number of values."""
    return node.call(_widened(_VARIADIC[node.node.op]), *node.inputs())


function_for("Where", 3)(torch.where)


@function_for("IsInf", detect_positive=1, detect_negative=1)
def infinite(values: Tensor, positive: int, negative: int) -> Tensor:
    """Where values are infinite, upwards or downwards."""
    found = torch.zeros_like(values, dtype=torch.bool)
    if positive:
        found = found | torch.isposinf(values)
    return found | torch.isneginf(values) if negative else found


@converter("Cast", "BitCast")
def cast(node: NodeView) -> Value:
    """The values, or the same bits, as another type."""
    dtype = dtype_of(node.attribute("to"))
    if dtype is None:
        raise ConversionError(f"torch has no type for ONNX's type {node.attribute('to')}")
    return node.call(Tensor.to if node.node.op == "Cast" else Tensor.view, node.input(0), dtype)


@function_for("CastLike", 2)
def cast_like(values: Tensor, other: Tensor) -> Tensor:
    """The values in the type of another tensor."""
    return values.to(other.dtype)


def cumulative(values: Tensor, axis: Any, exclusive: int, reverse: int, product: bool) -> Tensor:
    """Running sum or product along an axis; exclusive: without the value itself; reverse: from the end."""
    axis = axis[0] if isinstance(axis, list) else axis
    flipped = values.flip(axis) if reverse else values
    result = (flipped.cumprod(axis) if product else flipped.cumsum(axis)).to(values.dtype)
    if exclusive and product:
        first = torch.ones_like(result.narrow(axis, 0, 1))
        result = torch.cat([first, result.narrow(axis, 0, result.shape[axis] - 1)], axis)
    elif exclusive:
        result = result - flipped
    return result.flip(axis) if reverse else result


@converter("CumSum", "CumProd")
def convert_cumulative(node: NodeView) -> Value:
    """Running sum or product."""
    settings = node.attribute("exclusive", 0), node.attribute("reverse", 0), node.node.op == "CumProd"
    return node.call(cumulative, node.input(0), node.sizes(1), *settings)
