"""Overlaps of rotated boxes and greedy suppression in tensors, as exact in the exported graph as in torch."""

from __future__ import annotations

import torch
from torch import Tensor


def iou_with_one(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union, seen from above, of one box with many.

    The area that a polygon P has in common with the rectangle of half sides a and b about the origin is, by
    Green's theorem, the integral along the border of P of -clamp(y, -b, b) dx over those parts where x lies
    between -a and a. For straight edges it has a closed form. It needs neither corners in order nor cases for
    edges that coincide, and equal boxes give 1.

    Args:
        box: (7,) x, y, z, dx, dy, dz in metres, yaw in radians.
        boxes: (M, 7), likewise.

    Returns:
        (M,) from 0 to 1.
    """
    # In the frame of each of the many, where it is the rectangle: numbers stay small, so float32 is enough.
    cosine, sine = torch.cos(boxes[:, 6]), torch.sin(boxes[:, 6])
    east, north = box[0] - boxes[:, 0], box[1] - boxes[:, 1]
    center_x, center_y = east * cosine + north * sine, north * cosine - east * sine
    turn = box[6] - boxes[:, 6]
    turn_cosine, turn_sine = torch.cos(turn), torch.sin(turn)
    half_x, half_y = box[3] * 0.5, box[4] * 0.5
    # Corners of the one box, counter-clockwise.
    along = torch.stack([half_x, -half_x, -half_x, half_x])
    across = torch.stack([half_y, half_y, -half_y, -half_y])
    x = center_x[:, None] + along * turn_cosine[:, None] - across * turn_sine[:, None]
    y = center_y[:, None] + along * turn_sine[:, None] + across * turn_cosine[:, None]
    next_x, next_y = torch.cat([x[:, 1:], x[:, :1]], dim=1), torch.cat([y[:, 1:], y[:, :1]], dim=1)
    limit_x, limit_y = boxes[:, 3:4] * 0.5, boxes[:, 4:5] * 0.5
    start = torch.minimum(torch.maximum(x, -limit_x), limit_x)
    end = torch.minimum(torch.maximum(next_x, -limit_x), limit_x)
    run = next_x - x
    is_level = run.abs() < 1e-9
    slope = torch.where(
        is_level, torch.zeros_like(run), (next_y - y) / torch.where(is_level, torch.ones_like(run), run)
    )
    first, last = y + (start - x) * slope, y + (end - x) * slope
    common = -((end - start) * _mean_clamped(first, last, limit_y)).sum(dim=1)
    both = boxes[:, 3] * boxes[:, 4] + box[3] * box[4]
    common = torch.minimum(torch.clamp(common, min=0.0), both * 0.5)
    return common / torch.clamp(both - common, min=1e-9)


def _mean_clamped(first: Tensor, last: Tensor, limit: Tensor) -> Tensor:
    """Mean of clamp(y, -limit, limit) over y from ``first`` to ``last``."""
    low, high = torch.minimum(first, last), torch.maximum(first, last)
    length = high - low
    inner_low = torch.minimum(torch.maximum(low, -limit), limit)
    inner_high = torch.minimum(torch.maximum(high, -limit), limit)
    below = torch.minimum(torch.clamp(-limit - low, min=0.0), length)
    above = torch.minimum(torch.clamp(high - limit, min=0.0), length)
    total = limit * (above - below) + (inner_low + inner_high) * 0.5 * (inner_high - inner_low)
    is_point = length < 1e-9
    return torch.where(is_point, inner_low, total / torch.where(is_point, torch.ones_like(length), length))


def suppress(boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression.

    Args:
        boxes: (M, 7).
        scores: (M,); those of 0 take no part.
        iou_threshold: a box goes that overlaps a better one by more, seen from above.
        limit: most boxes to keep.

    Returns:
        Indices of the kept boxes (limit,), best first, and their scores (limit,); filled up with 0.
    """
    kept = torch.zeros(limit, dtype=torch.int64, device=boxes.device)
    kept_scores = torch.zeros(limit, dtype=scores.dtype, device=boxes.device)
    positions = torch.arange(limit, device=boxes.device)
    numbers = torch.arange(boxes.shape[0], device=boxes.device)
    left = scores
    count = torch.zeros(1, dtype=torch.int64, device=boxes.device)
    while bool(left.max() > 0) and bool(count < limit):
        best = left.argmax()
        is_here = positions == count
        kept = torch.where(is_here, best, kept)
        kept_scores = torch.where(is_here, left[best], kept_scores)
        is_gone = (iou_with_one(boxes[best], boxes) > iou_threshold) | (numbers == best)
        left = torch.where(is_gone, torch.zeros_like(left), left)
        count = count + 1
    return kept, kept_scores
