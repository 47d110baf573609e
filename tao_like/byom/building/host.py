"""Arithmetic on single sizes, as an imported network does it when it runs.

A size is a Python number; while torch traces it is a tensor, and while torch exports a symbol. None of these
functions asks a size for its value, so that it stays open in whatever is written.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

add, subtract, multiply, divide = operator.add, operator.sub, operator.mul, operator.truediv
# Sizes are not negative, where the kinds of rest differ.
modulo, negate, both, either = operator.mod, operator.neg, operator.and_, operator.or_
equal, less, greater = operator.eq, operator.lt, operator.gt
less_or_equal, greater_or_equal = operator.le, operator.ge


def size_of(values: Tensor, axis: int) -> Any:
    """The size of an axis."""
    return values.shape[axis]


def count_of(values: Tensor) -> Any:
    """How many numbers a tensor holds."""
    return math.prod(values.shape)


def shape_of(values: Tensor, start: int = 0, end: int | None = None) -> Tensor:
    """The sizes of the axes from ``start`` to ``end``, as a tensor: where nobody knows how many these are."""
    sizes: Tensor = to_tensor(list(values.shape[start:end]), torch.int64)
    return sizes


def to_tensor(value: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers, in lists of lists, as a tensor; whole ones are int64, as ONNX has sizes."""
    if isinstance(value, Tensor):
        return value if dtype is None else value.to(dtype)
    if isinstance(value, list | tuple) and _holds_tensors(value):
        # While torch traces, sizes are tensors.
        return torch.stack([to_tensor(item, dtype or torch.int64) for item in value])
    return torch.tensor(value, dtype=dtype)


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_tensors(item) for item in value)
    return isinstance(value, Tensor)


def to_numbers(tensor: Tensor) -> Any:
    """A tensor's values as Python numbers."""
    return tensor.tolist()


def divide_whole(left: Any, right: Any) -> Any:
    """The quotient of whole numbers without the rest; of known numbers towards zero, as in C."""
    if type(left) is int and type(right) is int:
        return left // right if (left < 0) == (right < 0) else -(-left // right)
    # Sizes are not negative, where floor and truncation differ.
    return left // right


def floor(value: Any) -> Any:
    """The next lower whole number, as a float."""
    return value.floor() if isinstance(value, Tensor) else math.floor(value) * 1.0


def ceil(value: Any) -> Any:
    """The next higher whole number, as a float."""
    return value.ceil() if isinstance(value, Tensor) else math.ceil(value) * 1.0


def root(value: Any) -> Any:
    """The square root."""
    return (value * 1.0) ** 0.5


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """One or the other by a condition."""
    if isinstance(condition, Tensor):
        return torch.where(condition, torch.as_tensor(yes), torch.as_tensor(no))
    return yes if condition else no


def smaller(left: Any, right: Any) -> Any:
    """The smaller of two."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return torch.minimum(torch.as_tensor(left), torch.as_tensor(right))
    return min(left, right) if _known(left, right) else torch.sym_min(left, right)


def larger(left: Any, right: Any) -> Any:
    """The larger of two."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return torch.maximum(torch.as_tensor(left), torch.as_tensor(right))
    return max(left, right) if _known(left, right) else torch.sym_max(left, right)


def _known(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)


def negation(value: Any) -> Any:
    """Whether it is false."""
    return torch.logical_not(value) if isinstance(value, Tensor) else not value


def to_float(value: Any) -> Any:
    """As a float."""
    return value.float() if isinstance(value, Tensor) else value * 1.0


def to_whole(value: Any) -> Any:
    """As a whole number."""
    if isinstance(value, Tensor):
        return value.long()
    return int(value) if isinstance(value, float | bool) else torch.sym_int(value)


def to_truth(value: Any) -> Any:
    """Whether it is not zero."""
    return value != 0


KINDS: dict[Callable[..., Any], type | None] = {
    **dict.fromkeys((size_of, count_of, divide_whole, to_whole), int),
    **dict.fromkeys((divide, floor, ceil, root, to_float), float),
    **dict.fromkeys((equal, less, greater, less_or_equal, greater_or_equal), bool),
    **dict.fromkeys((negation, both, either, to_truth), bool),
    **dict.fromkeys((add, subtract, multiply, modulo, negate, choose, smaller, larger), None),
}
"""What a function gives: a type, or None for that of its operands."""
NOT_NEGATIVE = (
    *(size_of, count_of, add, multiply, divide, divide_whole, modulo, floor, ceil, root, to_float),
    *(to_whole, smaller, larger),
)
"""Functions that give nothing negative where nothing negative goes in."""
