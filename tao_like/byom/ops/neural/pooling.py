"""Pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.byom.building.registry import converter, function_for
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.ops.neural.convolution import CONVOLUTIONS, halves, pad_same, torch_pads
from tao_like.errors import ConversionError

_MAX: dict[int, Any] = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
Parts = Sequence[Sequence[int]]
"""Of a window along each axis: kernel, stride, begin, end, dilation."""


class Window:
    """Where a pooling looks: what the attributes of its node say.

    Attributes:
        kernel: width of the window along each axis; stride, dilation, begin and end likewise.
        same: borders follow from the input's size, the odd one at the end (True) or the beginning (False);
            None: they are those given.
    """

    def __init__(self, node: NodeView) -> None:
        self.kernel: list[int] = node.attribute("kernel_shape")
        count = len(self.kernel)
        if count not in _MAX:
            raise ConversionError(f"a pooling over {count} axes; 1, 2 or 3 are possible")
        self.stride: list[int] = node.attribute("strides", [1] * count)
        self.dilation: list[int] = node.attribute("dilations", [1] * count)
        self.begin, self.end = halves(node.attribute("pads", [0] * 2 * count))
        auto = node.attribute("auto_pad", "NOTSET")
        if auto == "VALID":
            self.begin = self.end = [0] * count
        self.same = {"SAME_UPPER": True, "SAME_LOWER": False}.get(auto)
        self.ceil = bool(node.attribute("ceil_mode", 0))
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(*self.begin, *self.end) < 0:
            raise ConversionError("its window has a size that is not possible")

    @property
    def parts(self) -> Parts:
        """What the functions take that run it."""
        return tuple(map(tuple, (self.kernel, self.stride, self.begin, self.end, self.dilation)))

    @property
    def is_torchs(self) -> bool:
        """Whether torch's own layers take its borders: the same on both sides, half a window at most."""
        half = all(2 * pad <= width for pad, width in zip(self.begin, self.kernel, strict=True))
        return self.same is None and self.begin == self.end and half


def max_pool(values: Tensor, window: Parts, same: bool | None, ceil: bool) -> Tensor:
    """The largest of each window; what lies outside does not count."""
    kernel, stride, begin, end, dilation = window
    wide = values if values.is_floating_point() else values.float()
    if same is not None:
        wide = pad_same(wide, kernel, stride, dilation, same, -math.inf)
    else:
        more = ceil_borders(wide, window, ceil)
        end = [last + extra for last, extra in zip(end, more, strict=True)]
        wide = functional.pad(wide, torch_pads(begin, end), value=-math.inf)
    result: Tensor = _MAX[len(kernel)](wide, kernel, stride, 0, dilation)
    return result.to(values.dtype)


def ceil_borders(values: Tensor, window: Parts, ceil: bool) -> list[int]:
    """What the end of each axis lacks for the last window, where sizes are rounded up.

    A last window that would begin behind the input and its first border is left out, as ONNX and torch do.
    """
    if not ceil:
        return [0] * len(window[0])
    missing = []
    for size, width, step, first, last, gap in zip(values.shape[2:], *window, strict=True):
        reach = (width - 1) * gap + 1
        windows = -(-(size + first + last - reach) // step) + 1
        if (windows - 1) * step >= size + first:
            windows -= 1
        missing.append(max(0, (windows - 1) * step + reach - size - first - last))
    return missing


@converter("MaxPool")
def convert_max_pool(node: NodeView) -> Any:
    """Largest of each window, and where it stands if that is asked for."""
    window = Window(node)
    plain = window.is_torchs and node.input(0).type.dtype not in (torch.int8, torch.uint8)
    if len(node.node.outputs) > 1 and node.node.outputs[1]:
        ordered = bool(node.attribute("storage_order", 0))
        if not plain:
            raise ConversionError("it gives indices of the largest values, and borders that differ by side")
        return node.calls(2, max_pool_with_indices, node.input(0), window.parts, window.ceil, ordered)
    if plain:
        kind: Any = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[len(window.kernel)]
        kernel, stride, padding, _, dilation = window.parts
        return node.module(kind(kernel, stride, padding, dilation, ceil_mode=window.ceil), node.input(0))
    return node.call(max_pool, node.input(0), window.parts, window.same, window.ceil)


def max_pool_with_indices(
    values: Tensor, window: Parts, ceil: bool, columns_first: bool
) -> tuple[Tensor, Tensor]:
    """The largest of each window, and its index counted through the whole tensor."""
    kernel, stride, padding, _, dilation = window
    result, indices = _MAX[len(kernel)](
        values, kernel, stride, padding, dilation, ceil_mode=ceil, return_indices=True
    )
    if columns_first:
        height, width = values.shape[-2:]
        indices = (indices % width) * height + indices // width
    planes = torch.arange(values.shape[0] * values.shape[1], device=values.device)
    start = planes.reshape(values.shape[0], values.shape[1], *[1] * len(kernel))
    return result, indices + start * math.prod(values.shape[2:])


def window_sum(values: Tensor, window: Parts) -> Tensor:
    """The sum of each window."""
    kernel, stride, begin, end, dilation = window
    padded = functional.pad(values, torch_pads(begin, end))
    channels = values.shape[1]
    ones = padded.new_ones((channels, 1, *kernel))
    convolution = CONVOLUTIONS[len(kernel)]
    result: Tensor = convolution(padded, ones, None, tuple(stride), 0, tuple(dilation), channels)
    return result


def average_pool(values: Tensor, window: Parts, same: bool | None, ceil: bool, count_borders: bool) -> Tensor:
    """The mean of each window; borders count as zeros, or do not count."""
    kernel, stride, begin, end, dilation = window
    ones = torch.ones_like(values[:1, :1])
    if same is not None:
        values = pad_same(values, kernel, stride, dilation, same)
        ones = pad_same(ones, kernel, stride, dilation, same, float(count_borders))
        begin = end = [0] * len(kernel)
    else:
        borders = torch_pads(begin, end)
        more = ceil_borders(values, window, ceil)
        values = functional.pad(values, borders)
        ones = functional.pad(ones, borders, value=float(count_borders))
        begin, end = [0] * len(kernel), more
    parts = (kernel, stride, begin, end, dilation)
    return window_sum(values, parts) / window_sum(ones, parts)


@converter("AveragePool")
def convert_average_pool(node: NodeView) -> Value:
    """Mean of each window."""
    window = Window(node)
    borders = bool(node.attribute("count_include_pad", 0))
    if window.is_torchs and set(window.dilation) == {1} and not window.ceil:
        kind: Any = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}[len(window.kernel)]
        return node.module(kind(*window.parts[:3], count_include_pad=borders), node.input(0))
    return node.call(average_pool, node.input(0), window.parts, window.same, window.ceil, borders)


def power_pool(values: Tensor, window: Parts, same: bool | None, ceil: bool, p: int) -> Tensor:
    """The p-norm of each window."""
    kernel, stride, begin, end, dilation = window
    powers = values.abs() ** p
    if same is not None:
        powers = pad_same(powers, kernel, stride, dilation, same)
        begin = end = [0] * len(kernel)
    more = ceil_borders(powers, (kernel, stride, begin, end, dilation), ceil)
    end = [last + extra for last, extra in zip(end, more, strict=True)]
    return window_sum(powers, (kernel, stride, begin, end, dilation)) ** (1 / p)


@converter("LpPool")
def lp_pool(node: NodeView) -> Value:
    """Norm of each window."""
    window, p = Window(node), node.attribute("p", 2)
    return node.call(power_pool, node.input(0), window.parts, window.same, window.ceil, p)


@function_for("GlobalAveragePool")
def global_average(values: Tensor) -> Tensor:
    """The mean over all axes behind the channels."""
    return values.mean(tuple(range(2, values.ndim)), keepdim=True)


@function_for("GlobalMaxPool")
def global_maximum(values: Tensor) -> Tensor:
    """The largest over all axes behind the channels."""
    return values.amax(tuple(range(2, values.ndim)), keepdim=True)


@function_for("GlobalLpPool", p=2)
def global_norm(values: Tensor, p: int) -> Tensor:
    """The p-norm over all axes behind the channels."""
    axes = tuple(range(2, values.ndim))
    result: Tensor = torch.linalg.vector_norm(values, p, dim=axes, keepdim=True)
    return result


def unpool(values: Tensor, indices: Tensor, size: Sequence[int] | None, window: Parts) -> Tensor:
    """Values at the indices where they were the largest, zeros elsewhere."""
    kernel, stride, begin, end, _ = window
    own = [
        (count - 1) * step - first - last + width
        for count, step, first, last, width in zip(values.shape[2:], stride, begin, end, kernel, strict=True)
    ]
    shape = [*values.shape[:2], *own]
    # Indices are counted through the output that the window alone would give.
    flat = values.new_zeros(math.prod(shape)).scatter(0, indices.flatten(), values.flatten())
    result = flat.reshape(shape)
    if size is None or list(size) == shape:
        return result
    borders = [
        side
        for goal, got in zip(reversed(list(size)), reversed(shape), strict=True)
        for side in (0, goal - got)
    ]
    return functional.pad(result, borders)


@converter("MaxUnpool")
def max_unpool(node: NodeView) -> Value:
    """The reverse of MaxPool with indices."""
    return node.call(unpool, node.input(0), node.input(1), node.sizes(2), Window(node).parts)
