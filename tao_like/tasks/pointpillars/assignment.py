"""Which anchor learns which object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tao_like.tasks.pointpillars.spec_blocks.model import AnchorSpec

IGNORED = -1
BACKGROUND = 0
_TIE = 1e-6


@dataclass(frozen=True)
class AnchorTargets:
    """What the anchors of a frame learn.

    Attributes:
        labels: (A,) class number counted from 1; 0: there is nothing; -1: nothing is learnt.
        matched: (A,) number of the object that an anchor of a class learns; elsewhere 0.
    """

    labels: Tensor
    matched: Tensor


def upright_edges(boxes: Tensor) -> Tensor:
    """(N, 4) smallest x, y and largest x, y of boxes (N, 7) that are turned to the nearest axis."""
    quarter = torch.remainder(boxes[:, 6] + torch.pi / 4, torch.pi) - torch.pi / 4
    is_across = quarter.abs() > torch.pi / 4
    length = torch.where(is_across, boxes[:, 4], boxes[:, 3])
    width = torch.where(is_across, boxes[:, 3], boxes[:, 4])
    half = torch.stack([length, width], dim=1) / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)


def upright_iou(first: Tensor, second: Tensor, *, match_height: bool) -> Tensor:
    """Intersection over union (N, M) of boxes turned to the nearest axis, from above or in space."""
    one, other = upright_edges(first), upright_edges(second)
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=2)
    sizes = first[:, 3] * first[:, 4], second[:, 3] * second[:, 4]
    if match_height:
        top = torch.minimum((first[:, 2] + first[:, 5] / 2)[:, None], (second[:, 2] + second[:, 5] / 2)[None])
        bottom = torch.maximum(
            (first[:, 2] - first[:, 5] / 2)[:, None], (second[:, 2] - second[:, 5] / 2)[None]
        )
        common = common * (top - bottom).clamp(min=0)
        sizes = sizes[0] * first[:, 5], sizes[1] * second[:, 5]
    return common / (sizes[0][:, None] + sizes[1][None] - common).clamp(min=_TIE)


@torch.no_grad()
def assign(
    anchors: Tensor,
    classes: Sequence[AnchorSpec],
    boxes: Tensor,
    labels: Tensor,
    *,
    match_height: bool = False,
) -> AnchorTargets:
    """Gives every anchor an object of its class, or nothing.

    An anchor learns the object that it overlaps most if by the class's ``matched``, and nothing if by less
    than ``unmatched``. Each object has the anchors that overlap it most, by however little.

    Args:
        anchors: (cells, anchors of a cell, 7).
        classes: of which anchors they are, in order.
        boxes: (G, 7) the objects of a frame.
        labels: (G,) their class numbers from 0.
        match_height: heights count in the overlap.
    """
    cells, of_cell = anchors.shape[:2]
    found = torch.zeros(cells, of_cell, dtype=torch.int64, device=anchors.device)
    matched = torch.zeros_like(found)
    start = 0
    for number, one in enumerate(classes):
        part = slice(start, start + one.count)
        start += one.count
        mine = torch.nonzero(labels == number)[:, 0]
        if not len(mine):
            continue
        of_class = anchors[:, part].reshape(-1, 7)
        iou = upright_iou(of_class, boxes[mine], match_height=match_height)
        best, position = iou.max(dim=1)
        is_matched = best >= one.matched_threshold
        # The best anchors of an object that none overlaps enough.
        highest = iou.max(dim=0).values
        is_highest = (iou >= highest[None] - _TIE) & (highest[None] > 0)
        forced = is_highest.any(dim=1)
        position = torch.where(forced & ~is_matched, (iou * is_highest).argmax(dim=1), position)
        is_matched |= forced
        values = torch.where(best < one.unmatched_threshold, BACKGROUND, IGNORED)
        values = torch.where(is_matched, number + 1, values)
        found[:, part] = values.reshape(cells, one.count)
        matched[:, part] = torch.where(is_matched, mine[position], 0).reshape(cells, one.count)
    return AnchorTargets(found.reshape(-1), matched.reshape(-1))
