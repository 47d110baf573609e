"""Deformable convolution, written with grid_sample: torchvision's own needs its compiled library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value
from tao_like.byom.ops.neural.convolution import geometry, padded
from tao_like.errors import ConversionError


def deformable(
    values: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Deformable convolution (Dai et al. 2017, with a mask: Zhu et al. 2018); groups follow from the shapes.

    Args:
        values: (N, C, H, W).
        weight: (out, C / groups, h, w).
        offset: (N, offset groups * h * w * 2, H', W'), down before right.
        mask: (N, offset groups * h * w, H', W').
    """
    batch, channels, height, width = values.shape
    rows, columns = weight.shape[2:]
    out_height, out_width = offset.shape[2:]
    taps = rows * columns
    parts = offset.shape[1] // (2 * taps)
    moves = offset.reshape(batch * parts, taps, 2, out_height, out_width)
    kind: dict[str, Any] = {"device": values.device, "dtype": values.dtype}
    y = torch.arange(out_height, **kind).reshape(1, 1, -1, 1) * stride[0] - padding[0]
    x = torch.arange(out_width, **kind).reshape(1, 1, 1, -1) * stride[1] - padding[1]
    tap_y = torch.arange(rows, **kind).repeat_interleave(columns).reshape(1, -1, 1, 1) * dilation[0]
    tap_x = torch.arange(columns, **kind).repeat(rows).reshape(1, -1, 1, 1) * dilation[1]
    places_y, places_x = y + tap_y + moves[:, :, 0], x + tap_x + moves[:, :, 1]
    grid = torch.stack(
        [2 * places_x / max(width - 1, 1) - 1, 2 * places_y / max(height - 1, 1) - 1], dim=-1
    ).reshape(batch * parts, taps * out_height, out_width, 2)
    source = values.reshape(batch * parts, channels // parts, height, width)
    sampled = functional.grid_sample(source, grid, align_corners=True)
    sampled = sampled.reshape(batch, parts, channels // parts, taps, out_height, out_width)
    if mask is not None:
        sampled = sampled * mask.reshape(batch, parts, 1, taps, out_height, out_width)
    groups = channels // weight.shape[1]
    columns_of = sampled.reshape(batch, groups, weight.shape[1] * taps, out_height * out_width)
    matrix = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1] * taps)
    result = torch.einsum("goc,ngcp->ngop", matrix, columns_of)
    result = result.reshape(batch, weight.shape[0], out_height, out_width)
    return result if bias is None else result + bias.reshape(-1, 1, 1)


@converter("DeformConv")
def deform_conv(node: NodeView) -> Value:
    """Deformable convolution over two axes."""
    count, kernel, stride, dilation, _ = geometry(node)
    if count != 2:
        raise ConversionError(f"a deformable convolution over {count} axes; 2 are possible")
    source, padding = padded(node, kernel, stride, dilation)
    bias = node.input(3) if node.has(3) else None
    mask = node.input(4) if node.has(4) else None
    settings = (tuple(stride), tuple(padding), tuple(dilation))
    return node.call(deformable, source, node.input(1), node.input(2), bias, mask, *settings)
