"""Models that were quantised with Q/DQ pairs, as float: weights are taken back, rounding is left out."""

from __future__ import annotations

import torch
from torch import Tensor

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value


def dequantise(values: Tensor, scale: Tensor, zero: Tensor | None, axis: int, block: int) -> Tensor:
    """(values - zero) * scale; scale and zero are per tensor, per axis, or per block of an axis."""
    wide = values.to(torch.int64)
    factor = _spread(scale, values, axis, block)
    if zero is not None:
        wide = wide - _spread(zero, values, axis, block).to(torch.int64)
    return wide.to(scale.dtype) * factor


def _spread(parts: Tensor, values: Tensor, axis: int, block: int) -> Tensor:
    if parts.numel() == 1:
        return parts.reshape(())
    if block:
        return parts.repeat_interleave(block, axis).narrow(axis, 0, values.shape[axis])
    shape = [1] * values.ndim
    shape[axis] = -1
    return parts.reshape(shape)


def quantise(
    values: Tensor, scale: Tensor, zero: Tensor | None, axis: int, block: int, dtype: torch.dtype
) -> Tensor:
    """Rounded values / scale + zero, within the type."""
    scaled = torch.round(values / _spread(scale, values, axis, block))
    if zero is not None:
        scaled = scaled + _spread(zero, values, axis, block)
    limits = torch.iinfo(dtype)
    return scaled.clamp(limits.min, limits.max).to(dtype)


@converter("DequantizeLinear")
def dequantize_linear(node: NodeView) -> Value:
    """Whole numbers back to floats; where they come from QuantizeLinear, the floats as they were."""
    source = node.input(0)
    made = node.builder.float_before_quantising.get(source.name)
    if made is not None:
        return made
    zero = node.input(2) if node.has(2) else None
    settings = (node.attribute("axis", 1), node.attribute("block_size", 0))
    return node.call(dequantise, source, node.input(1), zero, *settings)


@converter("QuantizeLinear")
def quantize_linear(node: NodeView) -> Value:
    """Floats to whole numbers. What takes them back gets the floats, so that training can go on."""
    zero = node.input(2) if node.has(2) else None
    dtype = (zero.type.dtype if zero is not None else None) or torch.uint8
    node.builder.float_before_quantising[node.node.outputs[0]] = node.input(0)
    scale = node.constant(1)
    if scale is not None:
        node.note(
            f"{node.node.outputs[0]} was quantised with a scale of {scale.flatten()[0].item():.6g}; "
            "here it is float"
        )
    settings = (node.attribute("axis", 1), node.attribute("block_size", 0), dtype)
    return node.call(quantise, node.input(0), node.input(1), zero, *settings)


def quantise_dynamically(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whole numbers from 0 to 255, their scale and their zero point."""
    low = values.amin().clamp(max=0)
    scale = (values.amax().clamp(min=0) - low) / 255
    step = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.round(-low / step).clamp(0, 255)
    whole = (torch.round(values / step) + zero).clamp(0, 255)
    return whole.to(torch.uint8), scale, zero.to(torch.uint8)


@converter("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: NodeView) -> tuple[Value, ...]:
    """Floats to whole numbers by their own range. Where a product follows, it gets the floats."""
    name = node.node.outputs[0]
    node.note(f"{name} was quantised by its own range; here it is float where a product follows")
    return node.calls(3, quantise_dynamically, node.input(0))
