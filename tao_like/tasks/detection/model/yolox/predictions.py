"""What the values of YOLOX's head mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tao_like.tasks.detection.model.object_detector import BOX_VALUES

LARGEST_LOG_SIDE = 10.0
"""A box side is exp(value) strides; a larger value would be infinite soon, and no image is that large."""


class Predictions:
    """The head's values for all A locations of a batch, side by side, in float32.

    Attributes:
        raw_boxes: (N, A, 4): center and side, as the head gives them.
        objects: (N, A) logits.
        classes: (N, A, classes) logits.
        cells: (A, 2): column and row of each location in its map.
        strides: (A,) pixels between locations of its map.
    """

    def __init__(
        self, raw_boxes: Tensor, objects: Tensor, classes: Tensor, cells: Tensor, strides: Tensor
    ) -> None:
        self.raw_boxes = raw_boxes
        self.objects = objects
        self.classes = classes
        self.cells = cells
        self.strides = strides

    @classmethod
    def of(cls, maps: Sequence[Tensor], strides: Sequence[float]) -> Predictions:
        """Flattens the head's maps."""
        values = torch.cat([each.flatten(2) for each in maps], dim=2).permute(0, 2, 1).float()
        device = values.device
        cells = []
        for each in maps:
            height, width = int(each.shape[2]), int(each.shape[3])
            rows, columns = torch.meshgrid(
                torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
            )
            cells.append(torch.stack([columns, rows], dim=2).reshape(-1, 2).float())
        positions = [
            torch.full((len(cell),), float(stride), device=device)
            for cell, stride in zip(cells, strides, strict=True)
        ]
        return cls(
            values[..., :BOX_VALUES],
            values[..., BOX_VALUES],
            values[..., BOX_VALUES + 1 :],
            torch.cat(cells),
            torch.cat(positions),
        )

    def corners(self) -> Tensor:
        """(N, A, 4): left, top, right, bottom in pixels."""
        scale = self.strides[:, None]
        centers = (self.raw_boxes[..., :2] + self.cells) * scale
        halves = self.raw_boxes[..., 2:].clamp(max=LARGEST_LOG_SIDE).exp() * scale / 2
        return torch.cat([centers - halves, centers + halves], dim=2)

    def encode(self, boxes: Tensor, positions: Tensor) -> Tensor:
        """What the head should say at locations (P,) to give boxes (P, 4): the inverse of ``corners``."""
        scale = self.strides[positions, None]
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 / scale - self.cells[positions]
        sides = ((boxes[:, 2:] - boxes[:, :2]) / scale).clamp(min=1e-6).log()
        return torch.cat([centers, sides], dim=1)
