"""RoIAlign over a feature pyramid (He et al. 2017, "Mask R-CNN"; Lin et al. 2017, eq. 1) in plain torch.

torchvision's needs its compiled operators, which are not everywhere (see ``networks._torchvision``). Here
each bin is a weighted sum of pixels of the maps, and one embedding bag computes all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BINS = 7
"""Bins of a region along each axis."""
SAMPLES = 2
"""Points along each axis of a bin whose values are averaged."""
CANONICAL_SIDE = 224
"""A region of this side, in pixels, is looked for in the third of the maps with strides 4, 8, 16 and 32."""
CANONICAL_LEVEL = 2
_EDGE = 2**-1e-6
"""A side this little below the edge of a level counts as on it, as in torchvision."""
_HALF_PIXEL_OPSET = 16
"""From here on ONNX's operator has to be told that coordinates are not shifted."""


def pooled_regions(
    maps: Sequence[Tensor],
    strides: Sequence[float],
    boxes: Tensor,
    images: Tensor,
    bins: int = BINS,
) -> Tensor:
    """What the maps show of each region.

    Args:
        maps: of the pyramid, fine to coarse, each (N, C, H, W) in float32.
        strides: pixels of the input between two of each map.
        boxes: (K, 4): left, top, right, bottom in pixels of the input. No gradient goes through them.
        images: (K,) number of each region's image in the batch.
        bins: of a region along each axis.

    Returns:
        (K, C, bins, bins): each region from the map that fits its size.
    """
    levels, channels = levels_of(boxes, len(maps)), int(maps[0].shape[1])
    pooled: Tensor = _RoiAlign.apply(boxes, images, levels, tuple(strides), channels, bins, *maps)
    return pooled


def levels_of(boxes: Tensor, count: int) -> Tensor:
    """Number of the map for each box (K, 4): floor(2 + log2(side / 224)), within 0 and ``count`` - 1."""
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    levels = torch.zeros_like(sides, dtype=torch.int64)
    for level in range(1, count):
        levels = levels + (sides >= CANONICAL_SIDE * 2.0 ** (level - CANONICAL_LEVEL) * _EDGE)
    return levels


class _RoiAlign(torch.autograd.Function):
    """One step for autograd, whatever it takes inside; ONNX's operator of this name for the exporter."""

    @staticmethod
    def forward(
        ctx: Any,
        boxes: Tensor,
        images: Tensor,
        levels: Tensor,
        strides: tuple[float, ...],
        channels: int,
        bins: int,
        *maps: Tensor,
    ) -> Tensor:
        """Regions (K, C, bins, bins)."""
        del channels  # The exporter needs to know them.
        ctx.save_for_backward(boxes, images, levels, *maps)
        ctx.strides, ctx.bins = strides, bins
        return _pooled(boxes, images, levels, strides, maps, bins)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the maps; the weights of the maps' pixels are computed again rather than kept."""
        boxes, images, levels, *maps = ctx.saved_tensors
        with torch.enable_grad():
            again = [each.detach().requires_grad_() for each in maps]
            pooled = _pooled(boxes, images, levels, ctx.strides, again, ctx.bins)
        return None, None, None, None, None, None, *torch.autograd.grad(pooled, again, gradients)

    @staticmethod
    def symbolic(
        graph: Any,
        boxes: Any,
        images: Any,
        levels: Any,
        strides: tuple[float, ...],
        channels: int,
        bins: int,
        *maps: Any,
    ) -> Any:
        """Regions level by level, put back into their order."""
        mode = {"coordinate_transformation_mode_s": "output_half_pixel"}
        flat = graph.op("Constant", value_t=torch.tensor([-1]))
        chosen, pooled = [], []
        for level, (features, stride) in enumerate(zip(maps, strides, strict=True)):
            number = graph.op("Constant", value_t=torch.tensor(level))
            positions = graph.op("Reshape", graph.op("NonZero", graph.op("Equal", levels, number)), flat)
            pooled.append(
                graph.op(
                    "RoiAlign",
                    features,
                    graph.op("Gather", boxes, positions),
                    graph.op("Gather", images, positions),
                    mode_s="avg",
                    output_height_i=bins,
                    output_width_i=bins,
                    sampling_ratio_i=SAMPLES,
                    spatial_scale_f=1 / stride,
                    **(mode if graph.opset >= _HALF_PIXEL_OPSET else {}),
                )
            )
            chosen.append(positions)
        order = graph.op("Concat", *chosen, axis_i=0)
        # Regions' indices in the list by level: the inverse of the order in which they were taken.
        numbers = graph.op(
            "Range",
            graph.op("Constant", value_t=torch.tensor(0)),
            graph.op("Squeeze", graph.op("Shape", levels)),
            graph.op("Constant", value_t=torch.tensor(1)),
        )
        inverse = graph.op("ScatterElements", levels, order, numbers, axis_i=0)
        result = graph.op("Gather", graph.op("Concat", *pooled, axis_i=0), inverse)
        result.setType(maps[0].type().with_sizes([None, channels, bins, bins]))
        return result


def _pooled(
    boxes: Tensor,
    images: Tensor,
    levels: Tensor,
    strides: Sequence[float],
    maps: Sequence[Tensor],
    bins: int,
) -> Tensor:
    """Regions (K, C, bins, bins): each bin is a sum of 4 points, each between 4 pixels of its map."""
    channels = maps[0].shape[1]
    # All pixels of all maps and images in one table, a row each.
    table = torch.cat([each.permute(0, 2, 3, 1).reshape(-1, channels) for each in maps])
    device = boxes.device
    areas = torch.tensor([each.shape[2] * each.shape[3] for each in maps], device=device)
    starts = torch.tensor([0, *(each[:, 0].numel() for each in maps[:-1])], device=device).cumsum(0)
    limits = torch.tensor([[each.shape[3], each.shape[2]] for each in maps], device=device)[levels]
    scales = torch.tensor([1 / stride for stride in strides], dtype=boxes.dtype, device=device)[levels]
    columns, across = _line(boxes[:, 0::2] * scales[:, None], limits[:, 0], bins)
    rows, down = _line(boxes[:, 1::2] * scales[:, None], limits[:, 1], bins)
    origin = starts[levels] + images * areas[levels]
    # (K, bin row, bin column, points down, points across)
    positions = (
        origin[:, None, None, None, None]
        + rows[:, :, None, :, None] * limits[:, 0, None, None, None, None]
        + columns[:, None, :, None, :]
    )
    weights = down[:, :, None, :, None] * across[:, None, :, None, :] / SAMPLES**2
    summed = functional.embedding_bag(
        positions.flatten(3).flatten(0, 2),
        table,
        per_sample_weights=weights.flatten(3).flatten(0, 2).to(table.dtype),
        mode="sum",
    )
    return summed.reshape(-1, bins, bins, channels).permute(0, 3, 1, 2).contiguous()


def _line(edges: Tensor, size: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Along one axis, the two pixels beside each point, and their weights.

    Args:
        edges: (K, 2): where the regions begin and end, in pixels of the map.
        size: (K,) pixels of the map along this axis.
        count: bins of a region.

    Returns:
        Pixels and weights (K, count, 2 * 2): for each bin 2 points with 2 pixels each. A point that lies more
        than one pixel outside of the map counts as zero.
    """
    bins = torch.arange(count, device=edges.device, dtype=edges.dtype)
    samples = torch.arange(SAMPLES, device=edges.device, dtype=edges.dtype) + 0.5
    length = (edges[:, 1:] - edges[:, :1]).clamp(min=1) / count
    # In the order of torchvision's and ONNX's operators, so that rounding is theirs too.
    starts = edges[:, :1] + bins * length
    points = (starts[:, :, None] + (samples * length / SAMPLES)[:, None, :]).flatten(1)
    inside = (points >= -1) & (points <= size[:, None])
    last = (size - 1)[:, None]
    points = points.clamp(min=0).minimum(last.to(points.dtype))
    before = points.floor()
    fraction = points - before
    first = before.long()
    positions = torch.stack([first, (first + 1).minimum(last)], dim=2)
    weights = torch.stack([1 - fraction, fraction], dim=2) * inside[..., None]
    return positions.reshape(-1, count, 2 * SAMPLES), weights.reshape(-1, count, 2 * SAMPLES)
