"""Shapes: what they are, and tensors in other shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building import host
from tao_like.byom.building.registry import converter, function_for
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.ops.neural.convolution import halves
from tao_like.byom.source.graph import TensorType, dtype_of
from tao_like.errors import ConversionError


@converter("Constant")
def constant(node: NodeView) -> Value:
    """A tensor that stands in the node."""
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = node.attribute(name)
        if value is not None:
            dtype = torch.float32 if "float" in name else None
            tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype)
            return Value(node.node.outputs[0], constant=tensor, sources=(node.node.outputs[0],))
    raise ConversionError("it holds neither a tensor nor numbers")


# Of a constant, or a value of which not even the number of axes is known: else sizes are single numbers.
function_for("Shape", start=0, end=None)(host.shape_of)
function_for("Size")(host.count_of)


def reshape(values: Tensor, sizes: Sequence[int], zero_is_zero: int) -> Tensor:
    """The same numbers in another shape; 0 keeps the size of that axis."""
    if not zero_is_zero:
        sizes = [values.shape[axis] if wanted == 0 else wanted for axis, wanted in enumerate(sizes)]
    return values.reshape(list(sizes))


@converter("Reshape")
def convert_reshape(node: NodeView) -> Value:
    """The same numbers in another shape."""
    sizes, keeps = node.sizes(1, "shape"), node.attribute("allowzero", 0)
    if not isinstance(sizes, list):
        return node.call(reshape, node.input(0), sizes, keeps)
    if sizes == [0, -1] and not keeps:
        return node.call(torch.flatten, node.input(0), 1)
    if not keeps:
        sizes = [node.size(0, axis) if size == 0 else size for axis, size in enumerate(sizes)]
    sizes = _kept(node, sizes)
    result = node.call(Tensor.reshape, node.input(0), tuple(sizes))
    return _of_rank(result, len(sizes))


def _kept(node: NodeView, sizes: list[Any]) -> list[Any]:
    """The sizes, of which those of axes that stay as they are follow the input.

    So the network still fits where its channels are pruned, or its images are of another size.
    """
    shape = node.input(0).type.shape or ()
    if node.constant(0) is not None or sizes.count(-1) > 1:
        return sizes
    kept = list(sizes)
    numbers = [size for size in shape[1:] if isinstance(size, int)]
    known = len(numbers) == len(shape) - 1 and all(isinstance(size, int) and size >= 0 for size in kept[1:])
    if kept[:1] == [-1] and known and math.prod(kept[1:]) == math.prod(numbers):
        # What is left over is the input's first axis.
        kept[0] = node.size(0, 0)
    for axes in (range(min(len(shape), len(sizes))), range(-1, -min(len(shape), len(sizes)) - 1, -1)):
        for axis in axes:
            own = node.size(0, axis % len(shape))
            if kept[axis] is own or (not isinstance(kept[axis], int) and not isinstance(shape[axis], int)):
                continue
            if not isinstance(shape[axis], int) or kept[axis] != shape[axis]:
                break
            kept[axis] = own
    return kept


def _of_rank(value: Value, rank: int) -> Value:
    """The value, of which at least the number of axes is known."""
    if value.type.shape is None:
        value.type = TensorType(value.type.dtype, (None,) * rank)
    return value


def flatten(values: Tensor, axis: int) -> Tensor:
    """A matrix: the axes before ``axis``, and the others."""
    axis = axis % values.ndim if axis < 0 else axis
    return values.reshape(math.prod(values.shape[:axis]), math.prod(values.shape[axis:]))


@converter("Flatten")
def convert_flatten(node: NodeView) -> Value:
    """A matrix of a value."""
    axis = node.attribute("axis", 1)
    if axis == 1 and (node.rank(0) or 0) > 1:
        return node.call(torch.flatten, node.input(0), 1)
    return node.call(flatten, node.input(0), axis)


def squeeze(values: Tensor, axes: Sequence[int] | None) -> Tensor:
    """Without axes of size one: all of them, or those given."""
    return values.squeeze() if axes is None else values.squeeze(tuple(axes))


def unsqueeze(values: Tensor, axes: Sequence[int]) -> Tensor:
    """With new axes of size one, numbered as in the result."""
    rank = values.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        values = values.unsqueeze(axis)
    return values


def _listed(sizes: Any) -> Any:
    """Known numbers as a tuple, one number too; what is computed stays as it is."""
    if isinstance(sizes, int):
        return (sizes,)
    return tuple(sizes) if isinstance(sizes, list) else sizes


@converter("Squeeze")
def convert_squeeze(node: NodeView) -> Value:
    """Without axes of size one."""
    return node.call(squeeze, node.input(0), _listed(node.sizes(1, "axes")))


@converter("Unsqueeze")
def convert_unsqueeze(node: NodeView) -> Value:
    """With new axes of size one."""
    axes = _listed(node.sizes(1, "axes"))
    if isinstance(axes, tuple) and len(axes) == 1:
        return node.call(torch.unsqueeze, node.input(0), axes[0])
    return node.call(unsqueeze, node.input(0), axes)


def reverse_axes(values: Tensor) -> Tensor:
    """The axes in reverse order."""
    return values.permute(*range(values.ndim - 1, -1, -1))


@converter("Transpose")
def transpose(node: NodeView) -> Value:
    """Axes in another order."""
    order = node.attribute("perm")
    if order is None:
        return node.call(reverse_axes, node.input(0))
    return node.call(torch.permute, node.input(0), tuple(order))


@converter("Concat")
def concat(node: NodeView) -> Value:
    """Values one behind the other."""
    return node.call(torch.cat, node.inputs(), node.attribute("axis", 1))


def split_evenly(values: Tensor, parts: int, axis: int) -> tuple[Tensor, ...]:
    """Parts of equal size, the last perhaps smaller."""
    width = math.ceil(values.shape[axis] / parts)
    sizes = [min(width, max(0, values.shape[axis] - width * part)) for part in range(parts)]
    return tuple(values.split(sizes, axis))


@converter("Split")
def split(node: NodeView) -> tuple[Value, ...]:
    """A value in parts."""
    sizes, axis = node.sizes(1, "split"), node.attribute("axis", 0)
    count = len(node.node.outputs)
    if sizes is None:
        return node.calls(count, split_evenly, node.input(0), node.attribute("num_outputs", count), axis)
    return node.calls(count, Tensor.split, node.input(0), sizes, axis)


def slice_axes(
    values: Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> Tensor:
    """A part of each of some axes; a negative step goes backwards."""
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for axis, first, last, step in zip(axes, starts, ends, steps, strict=True):
        if step > 0:
            # torch takes starts and ends beyond the axis for its ends, as ONNX does.
            values = torch.ops.aten.slice.Tensor(values, axis, first, last, step)
        else:
            values = values.index_select(axis, _backwards(values, axis, first, last, step))
    return values


def _backwards(values: Tensor, axis: int, first: int, last: int, step: int) -> Tensor:
    length = values.shape[axis]
    first = max(min(first + length if first < 0 else first, length - 1), -1)
    last = max(last + length if last < 0 else last, -1)
    return torch.arange(first, min(first, last), step, device=values.device)


@converter("Slice")
def convert_slice(node: NodeView) -> Value:
    """A part of each of some axes."""
    names = ("starts", "ends", "axes", "steps")
    parts = [_listed(node.sizes(index, name)) for index, name in enumerate(names, start=1)]
    return node.call(slice_axes, node.input(0), *parts)


def expand(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Repeated along axes of size one; an axis of size one in ``sizes`` keeps what there is."""
    missing = len(sizes) - values.ndim
    own = [1] * max(missing, 0) + list(values.shape)
    wanted = [1] * max(-missing, 0) + list(sizes)
    return values.expand([size if goal == 1 else goal for size, goal in zip(own, wanted, strict=True)])


@converter("Expand")
def convert_expand(node: NodeView) -> Value:
    """Repeated along axes of size one."""
    return node.call(expand, node.input(0), _listed(node.sizes(1)))


@converter("Tile")
def tile(node: NodeView) -> Value:
    """The whole value several times along each axis."""
    return node.call(Tensor.repeat, node.input(0), _listed(node.sizes(1)))


@converter("ConstantOfShape")
def constant_of_shape(node: NodeView) -> Value:
    """A tensor of one value."""
    value = node.attribute("value", torch.zeros(1))
    return node.call(torch.full, _listed(node.sizes(0)), value.item(), dtype=value.dtype)


def numbers_between(start: Any, limit: Any, delta: Any, dtype: torch.dtype | None) -> Tensor:
    """Numbers from ``start`` to below ``limit``."""
    start, limit, delta = (value[0] if isinstance(value, list) else value for value in (start, limit, delta))
    return torch.arange(start, limit, delta, dtype=dtype)


@converter("Range")
def convert_range(node: NodeView) -> Value:
    """Numbers from one to below another."""
    dtype = node.input(0).type.dtype
    return node.call(numbers_between, *(node.sizes(index) for index in range(3)), dtype)


_MODES = {"constant": 0, "reflect": 1, "edge": 2, "wrap": 3}


def pad(values: Tensor, pads: Sequence[int], fill: Any, axes: Sequence[int] | None, mode: int) -> Tensor:
    """Borders, which may be negative; ``pads`` are those at the beginning of the axes, then at the end."""
    axes = range(values.ndim) if axes is None else axes
    begin, end = halves(pads)
    borders = [(0, 0)] * values.ndim
    for axis, first, last in zip(axes, begin, end, strict=True):
        borders[axis] = (first, last)
    if mode == 0:
        fill = fill.item() if isinstance(fill, Tensor) else fill
        return functional.pad(values, [side for pair in reversed(borders) for side in pair], value=fill)
    for axis, (first, last) in enumerate(borders):
        if isinstance(first, int) and isinstance(last, int) and first == last == 0:
            continue
        positions = torch.arange(-first, values.shape[axis] + last, device=values.device)
        values = values.index_select(axis, _inside(positions, values.shape[axis], mode))
    return values


def _inside(positions: Tensor, length: int, mode: int) -> Tensor:
    """Positions inside 0..length-1 for those outside: mirrored, at the edge, or around."""
    if mode == 2:
        return positions.clamp(0, length - 1)
    if mode == 3:
        return positions % length
    period = max(2 * (length - 1), 1)
    folded = positions % period
    return torch.minimum(folded, period - folded) if length > 1 else torch.zeros_like(positions)


@converter("Pad")
def convert_pad(node: NodeView) -> Value:
    """Borders."""
    mode = node.attribute("mode", "constant")
    if mode not in _MODES:
        raise ConversionError(f"the mode '{mode}'; {', '.join(_MODES)} are possible")
    pads = _listed(node.sizes(1, "pads"))
    fill = node.scalar(2) if node.has(2) else node.attribute("value", 0.0)
    return node.call(pad, node.input(0), pads, fill, _listed(node.sizes(3)), _MODES[mode])


def depth_to_space(values: Tensor, block: int, columns_first: bool) -> Tensor:
    """Channels as positions of a larger map."""
    batch, channels, height, width = values.shape
    inner = channels // (block * block)
    if columns_first:
        parts = values.reshape(batch, inner, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    else:
        parts = values.reshape(batch, block, block, inner, height, width).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(batch, inner, height * block, width * block)


def space_to_depth(values: Tensor, block: int, columns_first: bool) -> Tensor:
    """Positions of a map as channels."""
    batch, channels, height, width = values.shape
    parts = values.reshape(batch, channels, height // block, block, width // block, block)
    order = (0, 1, 3, 5, 2, 4) if columns_first else (0, 3, 5, 1, 2, 4)
    return parts.permute(order).reshape(batch, channels * block * block, height // block, width // block)


_BLOCKS = {"DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth}


@converter(*_BLOCKS)
def move_blocks(node: NodeView) -> Value:
    """Channels as positions of a larger map, or the reverse."""
    columns_first = node.attribute("mode", "DCR") == "CRD"
    return node.call(_BLOCKS[node.node.op], node.input(0), node.attribute("blocksize"), columns_first)


def identity_matrix(values: Tensor, diagonal: int, dtype: torch.dtype | None) -> Tensor:
    """Ones on a diagonal, in the shape of a matrix."""
    ones = torch.ones(values.shape, dtype=dtype or values.dtype, device=values.device)
    return torch.triu(torch.tril(ones, diagonal), diagonal)


@converter("EyeLike")
def eye_like(node: NodeView) -> Value:
    """Ones on a diagonal."""
    code = node.attribute("dtype")
    return node.call(
        identity_matrix, node.input(0), node.attribute("k", 0), None if code is None else dtype_of(code)
    )


def triangle(values: Tensor, diagonal: Any, upper: bool) -> Tensor:
    """The part above or below a diagonal, zeros elsewhere."""
    diagonal = diagonal[0] if isinstance(diagonal, list) else diagonal
    return torch.triu(values, diagonal) if upper else torch.tril(values, diagonal)


@converter("Trilu")
def trilu(node: NodeView) -> Value:
    """The part above or below a diagonal."""
    diagonal = node.sizes(1) if node.has(1) else 0
    return node.call(triangle, node.input(0), diagonal, bool(node.attribute("upper", 1)))


def center(values: Tensor, sizes: Sequence[int], axes: Sequence[int] | None) -> Tensor:
    """Cut out of the middle, or set into the middle of zeros, axis by axis."""
    axes = range(values.ndim) if axes is None else axes
    for axis, wanted in zip(axes, sizes, strict=True):
        axis, difference = axis % values.ndim, wanted - values.shape[axis]
        if difference <= 0:
            values = values.narrow(axis, -difference // 2, wanted)
        else:
            before = difference // 2
            borders = [0, 0] * (values.ndim - 1 - axis) + [before, difference - before]
            values = functional.pad(values, borders)
    return values


@converter("CenterCropPad")
def center_crop_pad(node: NodeView) -> Value:
    """Cut out of the middle, or set into it."""
    return node.call(center, node.input(0), _listed(node.sizes(1)), _listed(node.attribute("axes")))
