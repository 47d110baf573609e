"""Shape arithmetic on Python numbers: a value is one number or a flat list of them.

Sizes that stay Python numbers can be traced and captured with open axes; as tensors they could not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tao_like.byom.graph import dtype_of
from tao_like.byom.registry import host_function

Number = int | float | bool
Numbers = Number | list[Number]


def to_tensor(value: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Python numbers as a tensor; whole ones are int64, as ONNX has sizes."""
    if isinstance(value, Tensor):
        return value if dtype is None else value.to(dtype)
    if isinstance(value, list) and any(isinstance(item, Tensor) for item in value):
        # While torch traces, sizes are tensors.
        return torch.stack([torch.as_tensor(item) for item in value]).to(dtype or torch.int64)
    return torch.tensor(value, dtype=dtype)


def to_numbers(tensor: Tensor) -> Any:
    """A tensor's values as Python numbers."""
    return tensor.tolist()


def shape_of(tensor: Tensor, start: int = 0, end: int | None = None) -> list[Number]:
    """The sizes of the axes from ``start`` to ``end``."""
    return list(tensor.shape[start:end])


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function applied to numbers and lists alike; one number goes with each of a list."""

    def apply(*values: Numbers) -> Any:
        length = max((len(value) for value in values if isinstance(value, list)), default=None)
        if length is None:
            return function(*values)
        columns = [
            value * length if isinstance(value, list) and len(value) == 1 else value for value in values
        ]
        rows = [column if isinstance(column, list) else [column] * length for column in columns]
        return [function(*items) for items in zip(*rows, strict=True)]

    apply.__name__ = apply.__qualname__ = f"host_{getattr(function, '__name__', 'function').strip('_')}"
    return apply


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        return left / right
    # Sizes are not negative, where floor and truncation differ.
    return left // right


def _add(left: Any, right: Any) -> Any:
    return left + right


def _subtract(left: Any, right: Any) -> Any:
    return left - right


def _multiply(left: Any, right: Any) -> Any:
    return left * right


def _modulo(left: Any, right: Any) -> Any:
    return left % right


def _floor(value: Any) -> Any:
    return float(math.floor(value))


def _ceil(value: Any) -> Any:
    return float(math.ceil(value))


def _negate(value: Any) -> Any:
    return -value


def _equal(left: Any, right: Any) -> Any:
    return left == right


def _less(left: Any, right: Any) -> Any:
    return left < right


def _greater(left: Any, right: Any) -> Any:
    return left > right


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    return yes if condition else no


def _square_root(value: Any) -> Any:
    return float(value) ** 0.5


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Neg": _negate,
    "Sqrt": _square_root,
    "Floor": _floor,
    "Ceil": _ceil,
    "Equal": _equal,
    "Less": _less,
    "Greater": _greater,
    "Where": _choose,
    "Min": min,
    "Max": max,
}
for _name, _function in _FUNCTIONS.items():
    host_function(_name)(_each(_function))


@host_function("Mod")
def host_mod(left: Numbers, right: Numbers, fmod: int = 0) -> Any:
    """Remainder; sizes are not negative, where the two kinds differ."""
    del fmod
    return _each(_modulo)(left, right)


@host_function("Identity")
def host_identity(value: Numbers) -> Numbers:
    """The value itself."""
    return value


@host_function("Cast")
def host_cast(value: Numbers, to: int, saturate: int = 1, round_mode: int = 0) -> Any:
    """Whole numbers, floats or truths."""
    del saturate, round_mode
    dtype = dtype_of(to)
    if dtype is None or dtype.is_complex:
        raise ValueError(f"sizes cannot be cast to type {to}")
    if dtype == torch.bool:
        return _each(_to_truth)(value)
    convert: Callable[..., Any] = _to_float if dtype.is_floating_point else _to_int
    return _each(convert)(value)


def _to_truth(value: Any) -> Any:
    return bool(value)


def _to_float(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value * 1.0


def _to_int(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.long()
    return int(value) if isinstance(value, float | bool) else value


@host_function("Gather")
def host_gather(values: Sequence[Number], indices: Any, axis: int = 0) -> Any:
    """One or some of the values."""
    del axis
    if isinstance(indices, list):
        return [values[index] for index in indices]
    return values[indices]


@host_function("Concat")
def host_concat(*values: Numbers, axis: int = 0) -> list[Number]:
    """All values in one list."""
    del axis
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


@host_function("Unsqueeze")
def host_unsqueeze(value: Numbers, axes: Any = None) -> list[Number]:
    """One number as a list of one."""
    del axes
    return value if isinstance(value, list) else [value]


@host_function("Squeeze")
def host_squeeze(value: Numbers, axes: Any = None) -> Number:
    """A list of one number as the number."""
    del axes
    return value[0] if isinstance(value, list) else value


@host_function("Slice")
def host_slice(
    values: list[Number], starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> list[Number]:
    """A part of the list."""
    del axes
    first, last = _one(starts), _one(ends)
    step = 1 if steps is None else _one(steps)
    if step > 0:
        return values[first:last:step]
    # In ONNX an end below -length means: to the beginning.
    return values[first : None if last < -len(values) else last : step]


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


@host_function("ReduceProd")
def host_product(values: Numbers, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
    """The product of all."""
    del axes, noop_with_empty_axes
    product = math.prod(values) if isinstance(values, list) else values
    return [product] if keepdims and isinstance(values, list) else product


@host_function("Split")
def host_split(
    values: list[Number], split: Any = None, axis: int = 0, num_outputs: int | None = None
) -> list[list[Number]]:
    """The list in parts."""
    del axis
    sizes = split or [math.ceil(len(values) / (num_outputs or 1))] * (num_outputs or 1)
    parts, start = [], 0
    for size in sizes:
        parts.append(values[start : start + size])
        start += size
    return parts


@host_function("Reshape")
def host_reshape(value: Numbers, shape: Any, allowzero: int = 0) -> Any:
    """A number as a list, a list as a number, or as it was."""
    del allowzero
    if not shape:
        return _one(value)
    return value if isinstance(value, list) else [value]
