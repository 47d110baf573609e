"""Convolutions: real modules where the file holds the weights, plain functions where it computes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.byom.building.registry import converter
from tao_like.byom.building.roles import is_bins
from tao_like.byom.building.views import NodeView, Value
from tao_like.errors import ConversionError

_MODULES: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
CONVOLUTIONS: dict[int, Any] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED_FUNCTIONS: dict[int, Any] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def pad_same(
    values: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    upper: bool,
    fill: float = 0.0,
) -> Tensor:
    """Borders with which a window gives ceil(size / stride) results; the odd one goes last with ``upper``."""
    pads: list[int] = []
    for size, width, step, gap in zip(values.shape[2:], kernel, stride, dilation, strict=True):
        total = (-(-size // step) - 1) * step + (width - 1) * gap + 1 - size
        total = max(int(total), 0)
        small = total // 2
        pads = [small, total - small, *pads] if upper else [total - small, small, *pads]
    return functional.pad(values, pads, value=fill) if any(pads) else values


def halves(pads: Sequence[int]) -> tuple[list[int], list[int]]:
    """ONNX's pads as those at the beginning and those at the end of each axis."""
    middle = len(pads) // 2
    return list(pads[:middle]), list(pads[middle:])


def torch_pads(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """Pads in the order of ``torch.nn.functional.pad``: the last axis first."""
    return [pad for pair in reversed(list(zip(begin, end, strict=True))) for pad in pair]


def padded(
    node: NodeView, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Value, list[int]]:
    """The input, bordered where that cannot be a module's own, and the padding left to the module."""
    auto, count = node.attribute("auto_pad", "NOTSET"), len(kernel)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        upper = auto == "SAME_UPPER"
        arguments = (tuple(kernel), tuple(stride), tuple(dilation), upper)
        return node.call(pad_same, node.input(0), *arguments), [0] * count
    begin, end = halves(node.attribute("pads", [0] * 2 * count))
    if auto == "VALID":
        begin = end = [0] * count
    if len(begin) != count or min(*begin, *end, 0) < 0:
        raise ConversionError(f"pads {begin + end} do not fit a kernel of {list(kernel)}")
    if begin == end:
        return node.input(0), begin
    return node.call(functional.pad, node.input(0), tuple(torch_pads(begin, end))), [0] * count


def geometry(node: NodeView) -> tuple[int, list[int], list[int], list[int], int]:
    """Number of spatial axes, kernel, stride, dilation, groups."""
    weight = node.constant(1)
    kernel = list(weight.shape[2:]) if weight is not None else node.attribute("kernel_shape")
    if kernel is None:
        shape = node.input(1).type.shape
        kernel = None if shape is None else list(shape[2:])
    if kernel is None or not all(isinstance(size, int) for size in kernel):
        raise ConversionError("the size of its kernel is not known")
    count = len(kernel)
    if count not in CONVOLUTIONS:
        raise ConversionError(f"a convolution over {count} axes; 1, 2 or 3 are possible")
    stride = node.attribute("strides", [1] * count)
    dilation = node.attribute("dilations", [1] * count)
    return count, kernel, stride, dilation, node.attribute("group", 1)


@converter("Conv")
def conv(node: NodeView) -> Value:
    """Convolution."""
    count, kernel, stride, dilation, groups = geometry(node)
    source, padding = padded(node, kernel, stride, dilation)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    held = node.constant(1)
    if held is None or is_bins(held) or not _holds_bias(node):
        return _computed(node, CONVOLUTIONS[count], source, settings)
    module = _MODULES[count](
        held.shape[1] * groups, held.shape[0], kernel, **settings, bias=node.has(2), device="meta"
    )
    return _held(node, module, source)


def _holds_bias(node: NodeView) -> bool:
    """Whether the file holds the bias of a convolution, where it has one."""
    return not node.has(2) or node.constant(2) is not None


def _computed(
    node: NodeView, function: Callable[..., Tensor], source: Value, settings: dict[str, Any]
) -> Value:
    """A convolution whose weight is an input like any other."""
    bias = node.input(2) if node.has(2) else None
    fixed = {name: tuple(item) if isinstance(item, list) else item for name, item in settings.items()}
    return node.call(function, source, node.input(1), bias, **fixed)


def _held(node: NodeView, module: nn.Module, source: Value) -> Value:
    """A convolution as a module that takes its weight and bias from the file."""
    weight = node.weight(1)
    fill(module, weight, node.weight(2, "bias").reshape(-1) if node.has(2) else None)
    return node.module(module, source, tied=is_tied(weight))


def fill(module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Gives a layer copies of its weight, or scale, and its bias."""
    module.weight = nn.Parameter(weight.clone())
    module.bias = None if bias is None else nn.Parameter(bias.clone())  # type: ignore[assignment]


def is_tied(weight: Tensor) -> bool:
    """Whether a weight that is used again is one weight; equal values may be two that begin alike."""
    return weight.numel() > 1 and bool((weight != weight.flatten()[0]).any())


def crop(values: Tensor, begin: Sequence[int], end: Sequence[int]) -> Tensor:
    """Takes borders away from the spatial axes."""
    for axis, (first, last) in enumerate(zip(begin, end, strict=True), start=2):
        size = values.shape[axis]
        values = values.narrow(axis, first, size - first - last)
    return values


@converter("ConvTranspose")
def conv_transpose(node: NodeView) -> Value:
    """Transposed convolution."""
    count, kernel, stride, dilation, groups = geometry(node)
    extra = node.attribute("output_padding", [0] * count)
    begin, end, extra = _transposed_borders(node, kernel, stride, dilation, extra)
    # torch takes the same border from both sides; what the source takes on one side more is cropped.
    padding = [max(0, min(pair)) for pair in zip(begin, end, strict=True)]
    begin = [first - pad for first, pad in zip(begin, padding, strict=True)]
    end = [last - pad for last, pad in zip(end, padding, strict=True)]
    # A negative border at the end is the same as more output.
    extra = [more + max(0, -last) for more, last in zip(extra, end, strict=True)]
    end = [max(0, last) for last in end]
    if min(begin) < 0:
        raise ConversionError(f"it adds {-min(begin)} to the beginning of its output")
    large = [more for more, step, gap in zip(extra, stride, dilation, strict=True) if more >= max(step, gap)]
    after = [0] * count
    if large:
        # torch refuses output padding that no input can reach; there the bias alone stands.
        extra, after = [0] * count, extra
    settings = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups}
    result = _transposed(node, count, settings | {"dilation": dilation})
    if any(after):
        if node.has(2):
            raise ConversionError(f"an output padding of {after} with strides {stride}")
        result = node.call(functional.pad, result, tuple(torch_pads([0] * count, after)))
    return node.call(crop, result, tuple(begin), tuple(end)) if any(begin) or any(end) else result


def _transposed(node: NodeView, count: int, settings: dict[str, Any]) -> Value:
    held = node.constant(1)
    if held is None or not _holds_bias(node):
        return _computed(node, _TRANSPOSED_FUNCTIONS[count], node.input(0), settings)
    widths, kernel = (held.shape[0], held.shape[1] * settings["groups"]), tuple(held.shape[2:])
    module = _TRANSPOSED[count](*widths, kernel, **settings, bias=node.has(2), device="meta")
    return _held(node, module, node.input(0))


def _transposed_borders(
    node: NodeView, kernel: list[int], stride: list[int], dilation: list[int], extra: list[int]
) -> tuple[list[int], list[int], list[int]]:
    """What is taken from the beginning and the end of each axis, and what is added."""
    count = len(kernel)
    auto = node.attribute("auto_pad", "NOTSET")
    wanted = node.attribute("output_shape")
    if wanted is None and auto in ("NOTSET", "VALID"):
        begin, end = halves(node.attribute("pads", [0] * 2 * count))
        return ([0] * count, [0] * count, extra) if auto == "VALID" else (begin, end, extra)
    sizes = (node.input(0).type.shape or ())[2:]
    if wanted is None:
        totals = [
            more + (width - 1) * gap + 1 - step
            for more, width, gap, step in zip(extra, kernel, dilation, stride, strict=True)
        ]
    elif len(sizes) == count and all(isinstance(size, int) for size in sizes):
        totals = [
            step * (int(size or 0) - 1) + more + (width - 1) * gap + 1 - goal
            for size, more, width, gap, step, goal in zip(
                sizes, extra, kernel, dilation, stride, wanted[-count:], strict=True
            )
        ]
    else:
        raise ConversionError("it names the size of its output, and that of its input is not known")
    small = [total // 2 for total in totals]
    large = [total - half for total, half in zip(totals, small, strict=True)]
    return (small, large, extra) if auto == "SAME_UPPER" else (large, small, extra)


def column_to_image(
    columns: Tensor,
    image: Sequence[int],
    block: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """Sums blocks (N, C * prod(block), L) at their positions in an image (N, C, *image)."""
    count = len(image)
    begin, end = halves(pads)
    full = [size + first + last for size, first, last in zip(image, begin, end, strict=True)]
    batch = columns.shape[0]
    channels = columns.shape[1] // int(torch.tensor(block).prod())
    steps = [
        (size - gap * (width - 1) - 1) // step + 1
        for size, gap, width, step in zip(full, dilation, block, stride, strict=True)
    ]
    blocks = columns.reshape(batch, channels, *block, *steps)
    result = columns.new_zeros(batch, channels, *full)
    offsets = torch.cartesian_prod(*[torch.arange(width) for width in block]).reshape(-1, count)
    for offset in offsets.tolist():
        part = tuple(
            slice(first * gap, first * gap + (number - 1) * step + 1, step)
            for first, gap, number, step in zip(offset, dilation, steps, stride, strict=True)
        )
        everything = (slice(None), slice(None))
        result[everything + part] += blocks[everything + tuple(offset)]
    return crop(result, begin, end)


@converter("Col2Im")
def col2im(node: NodeView) -> Value:
    """Blocks back to an image."""
    image, block = node.sizes(1), node.sizes(2)
    count = len(node.constant(1)) if node.constant(1) is not None else None  # type: ignore[arg-type]
    if count is None:
        shape = node.input(1).type.shape
        if shape is None or not isinstance(shape[0], int):
            raise ConversionError("the number of axes of its image is not known")
        count = shape[0]
    return node.call(
        column_to_image,
        node.input(0),
        image,
        block,
        tuple(node.attribute("dilations", [1] * count)),
        tuple(node.attribute("pads", [0] * 2 * count)),
        tuple(node.attribute("strides", [1] * count)),
    )
