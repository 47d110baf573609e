"""Operations of detectors and spatial transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.byom.building.registry import converter
from tao_like.byom.building.views import NodeView, Value
from tao_like.errors import ConversionError


def suppress(
    boxes: Tensor,
    scores: Tensor,
    most: Any = 0,
    max_iou: Any = 0.0,
    threshold: Any = None,
    centered: bool = False,
) -> Tensor:
    """Non-maximum suppression (selected, 3): sample, class and box, by sample and class, the best first."""
    most, max_iou, threshold = (_one(value) for value in (most, max_iou, threshold))
    if centered:
        center, half = boxes[..., :2], boxes[..., 2:] / 2
        boxes = torch.cat([center - half, center + half], -1)
    low, high = torch.minimum(boxes[..., :2], boxes[..., 2:]), torch.maximum(boxes[..., :2], boxes[..., 2:])
    boxes = torch.cat([low, high], -1)
    found = []
    for sample in range(scores.shape[0]):
        for number in range(scores.shape[1]):
            kept = _suppress_one(boxes[sample], scores[sample, number], most or 0, max_iou or 0.0, threshold)
            found += [[sample, number, box] for box in kept]
    return torch.tensor(found, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and value else (None if value == [] else value)


def _suppress_one(
    boxes: Tensor, scores: Tensor, most: int, max_iou: float, threshold: float | None
) -> list[int]:
    order = torch.argsort(scores, descending=True, stable=True)
    if threshold is not None:
        order = order[scores[order] > threshold]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept: list[int] = []
    while len(order) and len(kept) < most:
        first, order = order[0], order[1:]
        kept.append(int(first))
        inner = torch.minimum(boxes[first, 2:], boxes[order, 2:]) - torch.maximum(
            boxes[first, :2], boxes[order, :2]
        )
        common = inner.clamp(min=0).prod(1)
        order = order[common <= max_iou * (area[first] + area[order] - common)]
    return kept


@converter("NonMaxSuppression")
def non_max_suppression(node: NodeView) -> Value:
    """Non-maximum suppression."""
    limits = [node.sizes(index) for index in (2, 3, 4)]
    return node.call(
        suppress, node.input(0), node.input(1), *limits, bool(node.attribute("center_point_box", 0))
    )


class GridSample(nn.Module):
    """Values at positions of a map that a grid names, -1 to 1.

    Args:
        mode: ``bilinear``, ``nearest`` or ``bicubic``.
        padding: ``zeros``, ``border`` or ``reflection``.
        align_corners: -1 and 1 are the middles of the corner values, not their outer edges.
    """

    def __init__(self, mode: str, padding: str, align_corners: bool) -> None:
        super().__init__()
        self.mode, self.padding, self.align_corners = mode, padding, align_corners

    def forward(self, values: Tensor, grid: Tensor) -> Tensor:
        """(N, C, *grid)."""
        if values.ndim == 5 and self.mode == "bicubic":
            raise ConversionError("torch samples volumes by nearest or linear alone")
        return functional.grid_sample(
            values, grid, mode=self.mode, padding_mode=self.padding, align_corners=self.align_corners
        )


@converter("GridSample")
def grid_sample(node: NodeView) -> Value:
    """Values at positions that a grid names."""
    mode, padding = node.attribute("mode", "linear"), node.attribute("padding_mode", "zeros")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    if mode not in ("bilinear", "nearest", "bicubic") or padding not in ("zeros", "border", "reflection"):
        raise ConversionError(f"mode '{mode}' with padding '{padding}' is not in the standard")
    module = GridSample(mode, padding, bool(node.attribute("align_corners", 0)))
    return node.module(module, node.input(0), node.input(1))


@converter("AffineGrid")
def convert_affine_grid(node: NodeView) -> Value:
    """Positions after an affine map."""
    sizes = node.sizes(1)
    sizes = tuple(sizes) if isinstance(sizes, list) else sizes
    corners = bool(node.attribute("align_corners", 0))
    return node.call(functional.affine_grid, node.input(0), sizes, align_corners=corners)


def roi_align(
    values: Tensor,
    boxes: Tensor,
    samples: Tensor,
    height: int,
    width: int,
    ratio: int,
    scale: float,
    maximum: bool,
    half: bool,
) -> Tensor:
    """Pooled parts (boxes, C, height, width) of a map, sampled between its values."""
    scaled = boxes * scale - (0.5 if half else 0.0)
    return torch.stack(
        [
            _part(values[int(sample)], box, height, width, ratio, maximum, half)
            for box, sample in zip(scaled, samples.tolist(), strict=True)
        ]
    )


def _part(
    values: Tensor, box: Tensor, height: int, width: int, ratio: int, maximum: bool, half: bool
) -> Tensor:
    size = box[2:] - box[:2]
    if not half:
        size = size.clamp(min=1.0)
    step = size / torch.tensor([width, height], dtype=box.dtype, device=box.device)
    counts = [ratio or max(1, int(torch.ceil(step[axis]).item())) for axis in (0, 1)]
    xs = _middles(box[0], step[0], width, counts[0])
    ys = _middles(box[1], step[1], height, counts[1])
    neighbors, weights = _neighbors(values, ys, xs)
    parts = neighbors * weights
    shape = (values.shape[0], height, counts[1], width, counts[0])
    if maximum:
        # The largest of the weighted neighbors, as the standard has it.
        return parts.amax(0).reshape(shape).amax((2, 4))
    return parts.sum(0).reshape(shape).mean((2, 4))


def _middles(first: Tensor, step: Tensor, bins: int, count: int) -> Tensor:
    """Where each bin is sampled."""
    positions = torch.arange(bins * count, dtype=first.dtype, device=first.device)
    return first + (positions + 0.5) * step / count


def _neighbors(values: Tensor, ys: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
    """The four neighbors (4, C, ys, xs) of each point and their weights (4, 1, ys, xs)."""
    height, width = values.shape[-2:]
    inside = ((ys >= -1) & (ys <= height)).unsqueeze(1) & ((xs >= -1) & (xs <= width)).unsqueeze(0)
    y, x = ys.clamp(0, height - 1), xs.clamp(0, width - 1)
    y0, x0 = y.floor().long(), x.floor().long()
    y1, x1 = (y0 + 1).clamp(max=height - 1), (x0 + 1).clamp(max=width - 1)
    ly, lx = (y - y0).unsqueeze(1), (x - x0).unsqueeze(0)
    pairs = [
        (y0, x0, (1 - ly) * (1 - lx)),
        (y0, x1, (1 - ly) * lx),
        (y1, x0, ly * (1 - lx)),
        (y1, x1, ly * lx),
    ]
    neighbors = torch.stack([values[:, rows][:, :, columns] for rows, columns, _ in pairs])
    weights = torch.stack([weight * inside for *_, weight in pairs]).unsqueeze(1)
    return neighbors, weights


@converter("RoiAlign")
def convert_roi_align(node: NodeView) -> Value:
    """Pooled parts of a map."""
    usual = "half_pixel" if node.opset >= 16 else ""
    return node.call(
        roi_align,
        *(node.input(index) for index in range(3)),
        node.attribute("output_height", 1),
        node.attribute("output_width", 1),
        node.attribute("sampling_ratio", 0),
        node.attribute("spatial_scale", 1.0),
        node.attribute("mode", "avg") == "max",
        node.attribute("coordinate_transformation_mode", usual) == "half_pixel",
    )


def max_roi_pool(values: Tensor, boxes: Tensor, height: int, width: int, scale: float) -> Tensor:
    """The largest of each cell (boxes, C, height, width) of parts of a map (Girshick 2015, Fast R-CNN).

    Args:
        values: maps (N, C, H, W).
        boxes: (boxes, 5): sample, and the corners x1, y1, x2, y2, which both count.
        height: cells of the result.
        width: likewise.
        scale: of a box's numbers to positions of the map.
    """
    rows, columns = values.shape[-2:]
    # In single precision and with halves away from zero, as C rounds: a side longer by one has other cells.
    scaled = (boxes.detach()[:, 1:].float() * scale).double()
    sides = (scaled.sign() * (scaled.abs() + 0.5).floor()).long().tolist()
    samples = boxes[:, 0].long().tolist()
    results = []
    for sample, (left, top, right, bottom) in zip(samples, sides, strict=True):
        ys = _cells(top, bottom, height, rows)
        xs = _cells(left, right, width, columns)
        part = values[sample]
        cells = [
            part[:, y0:y1, x0:x1].amax((1, 2)) if y1 > y0 and x1 > x0 else part.new_zeros(part.shape[0])
            for y0, y1 in ys
            for x0, x1 in xs
        ]
        results.append(torch.stack(cells, 1).reshape(part.shape[0], height, width))
    return torch.stack(results) if results else values.new_zeros((0, values.shape[1], height, width))


def _cells(first: int, last: int, count: int, size: int) -> list[tuple[int, int]]:
    """Beginnings and ends of the cells of a side."""
    step = torch.tensor(max(last - first + 1.0, 1.0)) / count
    steps = torch.arange(count + 1, dtype=torch.float32) * step
    begins, ends = (first + steps.floor().long()).tolist(), (first + steps.ceil().long()).tolist()
    edges = zip(begins[:-1], ends[1:], strict=True)
    return [(min(max(begin, 0), size), min(max(end, 0), size)) for begin, end in edges]


@converter("MaxRoiPool")
def convert_max_roi_pool(node: NodeView) -> Value:
    """The largest of each cell of parts of a map."""
    height, width = node.attribute("pooled_shape")
    scale = node.attribute("spatial_scale", 1.0)
    return node.call(max_roi_pool, node.input(0), node.input(1), height, width, scale)
