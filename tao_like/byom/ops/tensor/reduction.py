"""Sums, means, extremes and sorting along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value


def _logarithm_of_sum(values: Tensor, axes: Any, keep: bool) -> Tensor:
    return torch.log(values.sum(axes, keep))


def _product(values: Tensor, axes: Any, keep: bool) -> Tensor:
    for axis in sorted((axis % values.ndim for axis in axes), reverse=True):
        values = values.prod(axis, keep)
    return values


def _sum(values: Tensor, axes: Any, keep: bool) -> Tensor:
    return values.sum(axes, keep, dtype=values.dtype)


def _largest(values: Tensor, axes: Any, keep: bool) -> Tensor:
    if not values.numel():
        return _of_nothing(values, axes, keep, low=True)
    if values.dtype == torch.bool:
        return values.byte().amax(axes, keep).bool()
    return values.amax(axes, keep)


def _smallest(values: Tensor, axes: Any, keep: bool) -> Tensor:
    if not values.numel():
        return _of_nothing(values, axes, keep, low=False)
    if values.dtype == torch.bool:
        return values.byte().amin(axes, keep).bool()
    return values.amin(axes, keep)


def _of_nothing(values: Tensor, axes: Any, keep: bool, *, low: bool) -> Tensor:
    """The extreme of no values: the type's own."""
    shape = torch.zeros(values.shape).sum(axes, keep).shape
    if values.dtype.is_floating_point:
        return values.new_full(shape, float("-inf" if low else "inf"))
    if values.dtype == torch.bool:
        return values.new_full(shape, not low)
    limits = torch.iinfo(values.dtype)
    return values.new_full(shape, limits.min if low else limits.max)


def _magnitudes(values: Tensor, axes: Any, keep: bool) -> Tensor:
    return values.abs().sum(axes, keep, dtype=values.dtype)


def _length(values: Tensor, axes: Any, keep: bool) -> Tensor:
    if values.is_floating_point():
        length: Tensor = torch.linalg.vector_norm(values, dim=axes, keepdim=keep)
        return length
    return (values * values).sum(axes, keep).sqrt().to(values.dtype)


def _squares(values: Tensor, axes: Any, keep: bool) -> Tensor:
    return (values * values).sum(axes, keep, dtype=values.dtype)


_REDUCTIONS: dict[str, Callable[[Tensor, Any, bool], Tensor]] = {
    "ReduceSum": _sum,
    "ReduceMean": torch.mean,
    "ReduceMax": _largest,
    "ReduceMin": _smallest,
    "ReduceProd": _product,
    "ReduceL1": _magnitudes,
    "ReduceL2": _length,
    "ReduceLogSum": _logarithm_of_sum,
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceSumSquare": _squares,
}


@converter(*_REDUCTIONS)
def reduce(node: NodeView) -> Value:
    """Reductions; the axes are an attribute or an input, none means all."""
    axes, keep = node.sizes(1, "axes"), bool(node.attribute("keepdims", 1))
    nothing = bool(node.attribute("noop_with_empty_axes", 0))
    function = _REDUCTIONS[node.node.op]
    if isinstance(axes, list) and axes:
        return node.call(function, node.input(0), tuple(axes), keep)
    axes = None if isinstance(axes, list) else axes
    return node.call(_OPEN_REDUCTIONS[node.node.op], node.input(0), axes, keep, nothing)


def _open(name: str, function: Callable[[Tensor, Any, bool], Tensor]) -> Callable[..., Tensor]:
    """The reduction over axes that are left out, or only known when the network runs."""

    def apply(values: Tensor, axes: Sequence[int] | None, keep: bool, nothing: bool) -> Tensor:
        if axes is not None and len(axes):
            return function(values, tuple(axes), keep)
        if nothing:
            # Of each element alone.
            return function(values.unsqueeze(-1), (-1,), False)
        return function(values, tuple(range(values.ndim)), keep)

    apply.__name__ = apply.__qualname__ = f"open_{name}"
    return apply


_OPEN_REDUCTIONS = {name: _open(name, function) for name, function in _REDUCTIONS.items()}


def index_of_extreme(values: Tensor, axis: int, keep: bool, last: bool, smallest: bool) -> Tensor:
    """Where the largest or smallest stands along an axis: the first such index, or the last."""
    found = values.flip(axis) if last else values
    indices = found.argmin(axis, keepdim=keep) if smallest else found.argmax(axis, keepdim=keep)
    return values.shape[axis] - 1 - indices if last else indices


@converter("ArgMax", "ArgMin")
def arg_extreme(node: NodeView) -> Value:
    """Where the largest or smallest stands."""
    return node.call(
        index_of_extreme,
        node.input(0),
        node.attribute("axis", 0),
        bool(node.attribute("keepdims", 1)),
        bool(node.attribute("select_last_index", 0)),
        node.node.op == "ArgMin",
    )


def top_k(values: Tensor, count: Any, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    """The largest or smallest and their indices; of equal ones the first."""
    count = count[0] if isinstance(count, list) else count
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        found, indices = top_k(values.long(), count, axis, largest)
        return found.to(values.dtype), indices
    found, indices = torch.sort(values, dim=axis, descending=largest, stable=True)
    return found.narrow(axis, 0, count), indices.narrow(axis, 0, count)


@converter("TopK")
def convert_top_k(node: NodeView) -> tuple[Value, ...]:
    """The largest or smallest and their indices, in order: that does no harm where none is asked for."""
    settings = (node.attribute("axis", -1), bool(node.attribute("largest", 1)))
    return node.calls(2, top_k, node.input(0), node.sizes(1, "k"), *settings)
