"""Picking out and putting in by index."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tao_like.byom.building.network import note_role
from tao_like.byom.building.registry import converter, function_for
from tao_like.byom.building.views import NodeView, Value
from tao_like.errors import ConversionError


def counted_from_front(indices: Tensor, length: int) -> Tensor:
    """Indices from 0 on; negative ones count from the end."""
    return torch.where(indices < 0, indices + length, indices).long()


def gather(values: Tensor, indices: Any, axis: int) -> Tensor:
    """Elements along an axis; the axes of the indices stand in its stead."""
    if isinstance(indices, int):
        return values.select(axis, indices)
    axis, length = axis % values.ndim, values.shape[axis]
    positions = counted_from_front(indices, length)
    picked = values.index_select(axis, positions.reshape(-1))
    return picked.reshape(values.shape[:axis] + positions.shape + values.shape[axis + 1 :])


@converter("Gather")
def convert_gather(node: NodeView) -> Value:
    """Elements along an axis: an embedding where the file holds the table and the indices are computed."""
    axis, table, positions = node.attribute("axis", 0), node.constant(0), node.constant(1)
    if positions is not None and positions.ndim == 0:
        return node.call(gather, node.input(0), node.scalar(1), axis)
    is_table = table is not None and table.is_floating_point() and table.ndim == 2
    if is_table and axis == 0 and positions is None and node.input(1).sizes is None:
        module = nn.Embedding.from_pretrained(node.weight(0, "embedding weight").clone(), freeze=False)
        # An embedding of torch counts from the front alone.
        rows = node.call(counted_from_front, node.input(1), len(module.weight))
        result = node.module(module, rows, tied=True)
        if result.node is not None and node.builder.is_independent_of_input(node.input(1)):
            # A table of positions, not one of words.
            note_role(result.node, "embedding weight", module.weight)
        return result
    return node.call(gather, node.input(0), node.input(1), axis)


@function_for("GatherElements", 2, axis=0)
def gather_elements(values: Tensor, indices: Tensor, axis: int) -> Tensor:
    """One element along an axis for each index."""
    return values.gather(axis, counted_from_front(indices, values.shape[axis]))


@function_for("GatherND", 2, batch_dims=0)
def gather_nd(values: Tensor, indices: Tensor, batch_axes: int) -> Tensor:
    """Parts named by tuples along the last axis of the indices."""
    depth = indices.shape[-1]
    batch = values.shape[:batch_axes]
    flat_values = values.reshape(-1, *values.shape[batch_axes:])
    flat_indices = indices.reshape(len(flat_values), -1, depth)
    picked = [
        part[tuple(counted_from_front(positions[:, axis], part.shape[axis]) for axis in range(depth))]
        for part, positions in zip(flat_values, flat_indices, strict=True)
    ]
    rest = values.shape[batch_axes + depth :]
    return torch.stack(picked).reshape(*batch, *indices.shape[batch_axes:-1], *rest)


_REDUCTIONS = {"none": "", "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


class ScatterElements(nn.Module):
    """Puts elements in along an axis, or joins them with what is there."""

    def __init__(self, axis: int, reduction: str) -> None:
        super().__init__()
        self.axis = axis
        self.reduction = _REDUCTIONS[reduction]

    def forward(self, values: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        """The values with the updates in them."""
        positions = counted_from_front(indices, values.shape[self.axis])
        if not self.reduction:
            return values.scatter(self.axis, positions, updates)
        return values.scatter_reduce(self.axis, positions, updates, self.reduction)


@converter("ScatterElements", "Scatter")
def scatter_elements(node: NodeView) -> Value:
    """Elements put in along an axis."""
    module = ScatterElements(node.attribute("axis", 0), _reduction(node))
    return node.module(module, node.input(0), node.input(1), node.input(2))


def _reduction(node: NodeView) -> str:
    name: str = node.attribute("reduction", "none")
    if name not in _REDUCTIONS:
        raise ConversionError(f"the reduction '{name}'; {', '.join(_REDUCTIONS)} are possible")
    return name


class ScatterND(nn.Module):
    """Puts parts in that tuples of indices name, or joins them with what is there."""

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = _REDUCTIONS[reduction]

    def forward(self, values: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        """The values with the updates in them."""
        depth = indices.shape[-1]
        positions = indices.reshape(-1, depth)
        # The named axes as one, so that a tuple is one number.
        strides = [1] * depth
        for axis in range(depth - 2, -1, -1):
            strides[axis] = strides[axis + 1] * values.shape[axis + 1]
        number = sum(
            counted_from_front(positions[:, axis], values.shape[axis]) * strides[axis]
            for axis in range(depth)
        )
        assert isinstance(number, Tensor)
        rest = values.shape[depth:]
        flat = values.reshape(-1, *rest)
        parts = updates.reshape(-1, *rest).to(values.dtype)
        if not self.reduction:
            return flat.index_copy(0, number, parts).reshape(values.shape)
        wide = number.reshape(-1, *[1] * len(rest)).expand(parts.shape)
        return flat.scatter_reduce(0, wide, parts, self.reduction).reshape(values.shape)


@converter("ScatterND")
def scatter_nd(node: NodeView) -> Value:
    """Parts put in by tuples of indices."""
    return node.module(ScatterND(_reduction(node)), *(node.input(index) for index in range(3)))


def tensor_scatter(past: Tensor, update: Tensor, starts: Tensor | None, axis: int, circular: bool) -> Tensor:
    """Writes a piece into each sample's memory, from a position of its own on."""
    axis = axis % past.ndim
    result = past.clone()
    length = past.shape[axis]
    for sample in range(past.shape[0]):
        first = 0 if starts is None else int(starts[sample])
        positions = torch.arange(first, first + update.shape[axis], device=past.device)
        positions = positions % length if circular else positions
        result[sample].index_copy_(axis - 1, positions, update[sample])
    return result


@converter("TensorScatter")
def convert_tensor_scatter(node: NodeView) -> Value:
    """Pieces written into a memory."""
    starts = node.input(2) if node.has(2) else None
    circular = node.attribute("mode", "linear") == "circular"
    return node.call(
        tensor_scatter, node.input(0), node.input(1), starts, node.attribute("axis", -2), circular
    )


def one_hot(indices: Tensor, depth: Any, pair: Tensor, axis: int) -> Tensor:
    """One value at the index, another elsewhere, along a new axis."""
    depth = int(depth[0] if isinstance(depth, list) else depth)
    indices = indices.long()
    rank = indices.ndim + 1
    axis = axis % rank
    inside = (indices >= -depth) & (indices < depth)
    positions = torch.arange(depth, device=indices.device).reshape(
        [-1 if i == axis else 1 for i in range(rank)]
    )
    hits = ((indices % depth).unsqueeze(axis) == positions) & inside.unsqueeze(axis)
    return torch.where(hits, pair[1], pair[0])


@converter("OneHot")
def convert_one_hot(node: NodeView) -> Value:
    """One value at the index, another elsewhere."""
    return node.call(one_hot, node.input(0), node.sizes(1), node.input(2), node.attribute("axis", -1))


@function_for("NonZero")
def indices_of_nonzero(values: Tensor) -> Tensor:
    """Where values are not zero: (axes, elements)."""
    return values.nonzero().t()


@function_for("Compress", 2, axis=None)
def compress(values: Tensor, condition: Tensor, axis: int | None) -> Tensor:
    """The elements for which a condition holds."""
    flat = values.flatten() if axis is None else values
    return flat.index_select(axis or 0, condition.nonzero().flatten())


@function_for("ReverseSequence", 2, batch_axis=1, time_axis=0)
def reverse_sequence(values: Tensor, lengths: Tensor, batch_axis: int, time_axis: int) -> Tensor:
    """The beginning of each sequence in reverse order."""
    positions = torch.arange(values.shape[time_axis], device=values.device)
    turned = torch.where(positions < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - positions, positions)
    turned = turned if batch_axis < time_axis else turned.t()
    return values.gather(
        time_axis, turned.reshape(*turned.shape, *[1] * (values.ndim - 2)).expand(values.shape)
    )


def unique(values: Tensor, axis: int | None, ordered: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Different elements, where each stands first, which of them each element is, and the number of each."""
    flat, along = (values.flatten(), 0) if axis is None else (values, axis % values.ndim)
    found, inverse, counts = torch.unique(
        flat, sorted=True, return_inverse=True, return_counts=True, dim=along
    )
    positions = torch.arange(len(inverse), device=values.device)
    first = torch.full_like(counts, len(inverse)).scatter_reduce(0, inverse, positions, "amin")
    if not ordered:
        order = first.argsort()
        rank = order.argsort()
        found, first, counts, inverse = (
            found.index_select(along, order),
            first[order],
            counts[order],
            rank[inverse],
        )
    return found, first, inverse, counts


@converter("Unique")
def convert_unique(node: NodeView) -> tuple[Value, ...]:
    """Different elements and where they stand."""
    return node.calls(4, unique, node.input(0), node.attribute("axis"), bool(node.attribute("sorted", 1)))
