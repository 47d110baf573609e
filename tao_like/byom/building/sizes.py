"""Shape arithmetic of a foreign graph, done while the network is built.

A file computes its shapes with tensors: Shape, Gather, Concat, Where and more. Of these only the numbers that
depend on the input remain in the network, each as one size of a tensor or as arithmetic on such sizes; how
they are put together is settled here. A value of shape arithmetic is an array of which every item is a number
or the node that will compute it. So a batch or a size that the source leaves open stays open, whatever words
an exporter found for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from tao_like.byom.building import host
from tao_like.byom.source.graph import dtype_of

Items = NDArray[np.object_]
"""Numbers and nodes that compute numbers."""
MOST_ITEMS = 64
"""A value with more items is no shape."""
_POWERS = (1, 2, 3)
"""Exponents that are written out as products."""
SizesFunction = Callable[["Call"], "Items | list[Items] | None"]
_functions: dict[str, SizesFunction] = {}


class Arithmetic:
    """Numbers where all is known, else nodes of a graph; the same node for the same question.

    Args:
        graph: in which the nodes are put.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self._graph = graph
        self._done: dict[Any, fx.Node] = {}

    def __call__(self, function: Callable[..., Any], *items: Any) -> Any:
        """The result of one of ``host``'s functions."""
        if not any(isinstance(item, fx.Node) for item in items):
            return function(*items)
        known = _simplified(function, items)
        if known is not None:
            return known
        key = (function, *((type(item), item) for item in items))
        if key not in self._done:
            node = self._graph.call_function(function, items)
            node.meta["kind"] = host.KINDS[function] or _kind(*items[-2:])
            node.meta["not negative"] = function in host.NOT_NEGATIVE and all(map(_not_negative, items))
            self._done[key] = node
        return self._done[key]

    def each(self, function: Callable[..., Any], *arrays: Items) -> Items:
        """A function of every item of arrays, which are broadcast."""
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        wide = [np.broadcast_to(array, shape) for array in arrays]
        return items_of(
            [self(function, *row) for row in zip(*(one.flat for one in wide), strict=True)], shape
        )

    def size(self, tensor: fx.Node, axis: int) -> Any:
        """The size of an axis of a tensor."""
        return self(host.size_of, tensor, axis)


def is_size(node: fx.Node) -> bool:
    """Whether a node of a network computes a size, or a tensor of sizes, and no values."""
    # Not by its function: what adds two sizes adds two tensors too.
    return "kind" in node.meta or node.target is host.shape_of


def items_of(values: Sequence[Any], shape: tuple[int, ...]) -> Items:
    """An array of items."""
    array: Items = np.empty(len(values), object)
    for index, value in enumerate(values):
        array[index] = value
    return array.reshape(shape)


def is_known(items: Items) -> bool:
    """Whether all items are numbers."""
    return not any(isinstance(item, fx.Node) for item in items.flat)


def tensor_of(items: Items, dtype: torch.dtype | None) -> torch.Tensor:
    """Numbers as a tensor; whole ones are int64."""
    return torch.tensor(items.tolist(), dtype=dtype).reshape(items.shape)


def _kind(*items: Any) -> type:
    kinds = {item.meta["kind"] if isinstance(item, fx.Node) else type(item) for item in items}
    return float if float in kinds else int if int in kinds else bool


def _not_negative(item: Any) -> bool:
    if isinstance(item, fx.Node):
        return bool(item.meta.get("not negative", True))
    return bool(item >= 0)


def _simplified(function: Callable[..., Any], items: Sequence[Any]) -> Any:
    """The result that follows although not all is known; None where there is none."""
    if function in (host.to_whole, host.to_float, host.to_truth):
        wanted = host.KINDS[function]
        return items[0] if items[0].meta["kind"] is wanted else None
    if function is host.choose:
        condition, yes, no = items
        if isinstance(condition, fx.Node):
            return yes if yes is no or (not isinstance(yes, fx.Node) and yes == no) else None
        return yes if condition else no
    if len(items) != 2 or function is host.size_of:
        return None
    left, right = items
    if left is right:
        return {host.equal: True, host.subtract: 0, host.smaller: left, host.larger: left}.get(function)
    if function in (host.add, host.multiply, host.larger) and not isinstance(left, fx.Node):
        left, right = right, left
    if isinstance(right, fx.Node | float):
        return None
    if (right == 0 and function in (host.add, host.subtract)) or (
        right == 1 and function in (host.multiply, host.divide_whole)
    ):
        return left
    if not _not_negative(left):
        return None
    if right < 0 and function in (host.equal, host.less, host.less_or_equal):
        return False
    if right < 0 and function in (host.greater, host.greater_or_equal):
        return True
    return left if right <= 0 and function is host.larger else None


# --- operations of ONNX on arrays of items ---


@dataclass(frozen=True)
class Call:
    """An operation on items.

    Attributes:
        arithmetic: computes with single items.
        inputs: None: left out.
        attributes: of the node.
    """

    arithmetic: Arithmetic
    inputs: Sequence[Items | None]
    attributes: dict[str, Any]

    def items(self, index: int) -> Items:
        """An input. Raises ValueError where it is left out."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise ValueError(f"input {index} is missing")
        return found

    def all(self) -> list[Items]:
        """All inputs. Raises ValueError where one is left out."""
        return [self.items(index) for index in range(len(self.inputs))]

    def numbers(self, index: int, name: str = "") -> list[Any] | None:
        """Known numbers from an input or an attribute; None where neither is given."""
        if name in self.attributes:
            return list(self.attributes[name])
        if index >= len(self.inputs) or self.inputs[index] is None:
            return None
        items = self.items(index)
        if not is_known(items):
            raise ValueError(f"input {index} follows from the network's input")
        return list(items.flat)


def sizes_function(*ops: str) -> Callable[[SizesFunction], SizesFunction]:
    """Register a function that does an operation on items.

    It takes the call, and gives an array, a list of arrays, or None where the operation has to be done on
    tensors after all.
    """

    def register(function: SizesFunction) -> SizesFunction:
        _functions.update(dict.fromkeys(ops, function))
        return function

    return register


def on_sizes(
    arithmetic: Arithmetic, op: str, inputs: Sequence[Items | None], attributes: dict[str, Any]
) -> list[Items] | None:
    """The outputs of an operation of the standard on items; None where it has to be done on tensors."""
    function = _functions.get(op)
    if function is None:
        return None
    try:
        found = function(Call(arithmetic, inputs, attributes))
    except (ValueError, IndexError, TypeError, ArithmeticError):
        # The operation on tensors will say what is wrong, if anything is.
        return None
    if found is None:
        return None
    outputs = found if isinstance(found, list) else [found]
    return outputs if all(output.size <= MOST_ITEMS for output in outputs) else None


_EACH: dict[str, Callable[..., Any]] = {
    **{"Add": host.add, "Sub": host.subtract, "Mul": host.multiply, "Neg": host.negate},
    **{"Floor": host.floor, "Ceil": host.ceil, "Sqrt": host.root, "Mod": host.modulo},
    **{"Equal": host.equal, "Less": host.less, "Greater": host.greater, "Where": host.choose},
    **{"LessOrEqual": host.less_or_equal, "GreaterOrEqual": host.greater_or_equal},
    **{"Not": host.negation, "And": host.both, "Or": host.either},
}


def _each(op: str) -> SizesFunction:
    def apply(call: Call) -> Items:
        return call.arithmetic.each(_EACH[op], *call.all())

    return apply


for _op in _EACH:
    sizes_function(_op)(_each(_op))


@sizes_function("Div")
def _divide(call: Call) -> Items:
    left, right = call.items(0), call.items(1)
    whole = _kind(*left.flat, *right.flat) is int
    return call.arithmetic.each(host.divide_whole if whole else host.divide, left, right)


@sizes_function("Pow")
def _power(call: Call) -> Items | None:
    base, exponent = call.items(0), call.items(1)
    if exponent.size != 1 or not is_known(exponent) or exponent.item() not in _POWERS:
        return None
    result = base
    for _ in range(int(exponent.item()) - 1):
        result = call.arithmetic.each(host.multiply, result, base)
    return result


def _fold(function: Callable[..., Any]) -> SizesFunction:
    def apply(call: Call) -> Items:
        return functools.reduce(lambda left, right: call.arithmetic.each(function, left, right), call.all())

    return apply


for _op, _function in (("Min", host.smaller), ("Max", host.larger), ("Sum", host.add)):
    sizes_function(_op)(_fold(_function))


@sizes_function("Identity")
def _identity(call: Call) -> Items:
    return call.items(0)


@sizes_function("Cast")
def _cast(call: Call) -> Items | None:
    dtype = dtype_of(call.attributes["to"])
    if dtype is None or dtype.is_complex:
        return None
    kind: Callable[..., Any] = host.to_float if dtype.is_floating_point else host.to_whole
    return call.arithmetic.each(host.to_truth if dtype == torch.bool else kind, call.items(0))


@sizes_function("Concat")
def _concat(call: Call) -> Items:
    return np.concatenate(call.all(), call.attributes["axis"])


@sizes_function("Gather")
def _gather(call: Call) -> Items | None:
    values, indices = call.items(0), call.items(1)
    if not is_known(indices):
        return None
    return _array(np.take(values, indices.astype(np.int64), axis=call.attributes.get("axis", 0)))


def _array(value: Any) -> Items:
    """Numpy gives a single item itself where an array without axes is wanted."""
    return value if isinstance(value, np.ndarray) else items_of([value], ())


@sizes_function("Slice")
def _slice(call: Call) -> Items:
    values = call.items(0)
    starts = call.numbers(1, "starts") or []
    ends = call.numbers(2, "ends") or []
    axes = call.numbers(3, "axes") or list(range(len(starts)))
    steps = call.numbers(4, "steps") or [1] * len(starts)
    for axis, first, last, step in zip(axes, starts, ends, steps, strict=True):
        # In ONNX a backward end below -length means: to the beginning.
        stop = None if step < 0 and last < -values.shape[axis] else last
        values = values[(slice(None),) * (axis % values.ndim) + (slice(first, stop, step),)]
    return values


@sizes_function("Unsqueeze")
def _unsqueeze(call: Call) -> Items:
    return np.expand_dims(call.items(0), tuple(call.numbers(1, "axes") or ()))


@sizes_function("Squeeze")
def _squeeze(call: Call) -> Items:
    axes = call.numbers(1, "axes")
    return np.squeeze(call.items(0), None if axes is None else tuple(axes))


@sizes_function("Reshape")
def _reshape(call: Call) -> Items:
    values, sizes = call.items(0), call.numbers(1, "shape") or []
    if not call.attributes.get("allowzero", 0):
        sizes = [values.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return values.reshape(sizes)


@sizes_function("Transpose")
def _transpose(call: Call) -> Items:
    return np.transpose(call.items(0), call.attributes.get("perm"))


@sizes_function("Expand")
def _expand(call: Call) -> Items:
    values, sizes = call.items(0), call.numbers(1) or []
    _refuse_many(sizes)
    return np.broadcast_to(values, np.broadcast_shapes(values.shape, tuple(sizes)))


@sizes_function("Tile")
def _tile(call: Call) -> Items:
    counts = call.numbers(1) or []
    _refuse_many(counts)
    return np.tile(call.items(0), counts)


def _refuse_many(sizes: Sequence[int]) -> None:
    if math.prod(sizes) > MOST_ITEMS:
        raise ValueError("this is no shape")


@sizes_function("Split")
def _split(call: Call) -> list[Items] | None:
    sizes = call.numbers(1, "split")
    if sizes is None:
        return None
    return np.split(call.items(0), np.cumsum(sizes)[:-1].tolist(), call.attributes.get("axis", 0))


def _reduction(function: Callable[..., Any]) -> SizesFunction:
    def apply(call: Call) -> Items | None:
        values, axes = call.items(0), call.numbers(1, "axes")
        if values.ndim != 1 or not values.size or axes not in (None, [], [0], [-1]):
            return None
        if not axes and call.attributes.get("noop_with_empty_axes", 0):
            return values
        whole = functools.reduce(lambda left, right: call.arithmetic(function, left, right), values.flat)
        return items_of([whole], (1,) if call.attributes.get("keepdims", 1) else ())

    return apply


for _op, _function in (
    *(("ReduceProd", host.multiply), ("ReduceSum", host.add)),
    *(("ReduceMin", host.smaller), ("ReduceMax", host.larger)),
):
    sizes_function(_op)(_reduction(_function))
