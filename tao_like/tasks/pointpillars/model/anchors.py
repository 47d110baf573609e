"""Anchors, and boxes as differences from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tao_like.tasks.pointpillars.spec_blocks.model import AnchorSpec


def make_anchors(classes: Sequence[AnchorSpec], limits: Sequence[float], cells: tuple[int, int]) -> Tensor:
    """All anchors, (cells along y * cells along x, anchors of a cell, 7) float32; classes after each other.

    Args:
        classes: of each class.
        limits: smallest x, y, z and largest x, y, z in metres.
        cells: of the head's map, along x and along y.
    """
    parts = []
    for anchors in classes:
        x, y = (
            _centers(limits[axis], limits[axis + 3], cells[axis], centered=anchors.align_center)
            for axis in (0, 1)
        )
        for size in anchors.anchor_sizes:
            for rotation in anchors.anchor_rotations:
                for bottom in anchors.anchor_bottom_heights:
                    fixed = (bottom + size[2] / 2, *size, rotation)
                    boxes = np.empty((cells[1], cells[0], 7))
                    boxes[..., 0], boxes[..., 1] = x[None, :], y[:, None]
                    boxes[..., 2:] = fixed
                    parts.append(boxes.reshape(-1, 1, 7))
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def _centers(low: float, high: float, count: int, *, centered: bool) -> np.ndarray:
    if centered:
        return low + (np.arange(count) + 0.5) * (high - low) / count
    return low + np.arange(count) * (high - low) / max(count - 1, 1)


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., 7) as differences from anchors (..., 7).

    SECOND (Yan et al. 2018), section 3.1.3: centers by the anchor's diagonal, heights by its height, sizes as
    logarithms, the angle as it is.
    """
    diagonal = torch.sqrt(anchors[..., 3:4] ** 2 + anchors[..., 4:5] ** 2)
    ground = (boxes[..., :2] - anchors[..., :2]) / diagonal
    height = (boxes[..., 2:3] - anchors[..., 2:3]) / anchors[..., 5:6]
    sizes = torch.log(boxes[..., 3:6] / anchors[..., 3:6])
    return torch.cat([ground, height, sizes, boxes[..., 6:] - anchors[..., 6:]], dim=-1)


def decode(codes: Tensor, centers: Tensor, shapes: Tensor) -> Tensor:
    """What ``encode`` made, as boxes (..., 7).

    Args:
        codes: (B, cells, anchors of a cell, 7).
        centers: (cells, 1 or anchors of a cell, 2) x and y of the anchors.
        shapes: (anchors of a cell, 5) their z, length, width, height and yaw. Apart from the centers, since
            the exported file would otherwise repeat them for every cell.
    """
    diagonal = torch.sqrt(shapes[:, 1:2] ** 2 + shapes[:, 2:3] ** 2)
    ground = codes[..., :2] * diagonal + centers
    height = codes[..., 2:3] * shapes[:, 3:4] + shapes[:, :1]
    sizes = torch.exp(codes[..., 3:6]) * shapes[:, 1:4]
    return torch.cat([ground, height, sizes, codes[..., 6:] + shapes[:, 4:]], dim=-1)


def half_turns(angles: Tensor, offset: float) -> Tensor:
    """Which half of the circle, 0 or 1, each angle lies in, where the first begins at ``offset``."""
    return torch.remainder(torch.floor((angles - offset) / torch.pi), 2).to(torch.int64)


def pointed(angles: Tensor, halves: Tensor, offset: float) -> Tensor:
    """The angles turned into the given halves of the circle."""
    turned = angles - offset
    return turned - torch.floor(turned / torch.pi) * torch.pi + offset + torch.pi * halves
