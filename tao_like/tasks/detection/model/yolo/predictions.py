"""What the values of a YOLO head with anchors mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tao_like.tasks.detection.anchors.presets import AnchorPlan
from tao_like.tasks.detection.model.object_detector import BOX_VALUES

LARGEST_LOG_RATIO = 8.0
"""A box side is exp(value) times its anchor's: at most 3000 times, and at least 1/3000 of it.

A box of no width has no ratio of its sides, and complete IoU and its gradient would be no numbers.
"""


class AnchorPredictions:
    """The head's values for all A pairs of location and anchor of a batch, side by side, in float32.

    The pairs stand map by map, fine to coarse; in a map anchor by anchor, in an anchor row by row.

    Args:
        maps: of the head, (N, anchors, 5 + classes, H, W) each.
        strides: of the maps.
        plan: anchors of the maps.

    Attributes:
        raw_boxes: (N, A, 4): center and sides, as the head gives them.
        objects: (N, A) logits.
        classes: (N, A, classes) logits.
        cells: (A, 2): column and row of each pair's location in its map.
        strides: (A,) pixels between locations of its map.
        anchors: (A, 2): width and height of its anchor in pixels.
        extends: (A,) how far a center may leave its cell, in cells, both sides together.
        grids: height and width of each map.
    """

    def __init__(self, maps: Sequence[Tensor], strides: Sequence[float], plan: AnchorPlan) -> None:
        values = torch.cat([each.transpose(1, 2).flatten(2) for each in maps], dim=2)
        values = values.permute(0, 2, 1).float()
        self.raw_boxes = values[..., :BOX_VALUES]
        self.objects = values[..., BOX_VALUES]
        self.classes = values[..., BOX_VALUES + 1 :]
        self.grids = [(int(each.shape[3]), int(each.shape[4])) for each in maps]
        cells, sides, steps, extends = [], [], [], []
        for (height, width), stride, shapes, extend in zip(
            self.grids, strides, plan.shapes, plan.extends, strict=True
        ):
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            of_map = torch.stack([columns, rows], dim=2).reshape(-1, 2).float()
            cells.append(of_map.repeat(len(shapes), 1))
            sides.append(torch.tensor(shapes).repeat_interleave(height * width, dim=0))
            steps.append(torch.full((len(shapes) * height * width,), float(stride)))
            extends.append(torch.full((len(shapes) * height * width,), extend))
        self.cells, self.anchors, self.strides, self.extends = (
            torch.cat(parts).to(values.device) for parts in (cells, sides, steps, extends)
        )

    def corners(self) -> Tensor:
        """(N, A, 4): left, top, right, bottom in pixels (Bochkovskiy et al. 2020, section 3.4; YOLOv3, 2.1).

        With s = 1 + extend: center = (s * sigmoid(x) - (s - 1) / 2 + cell) * stride, side = anchor * exp(w).
        """
        extends = self.extends[:, None]
        shifts = self.raw_boxes[..., :2].sigmoid() * (1 + extends) - extends / 2
        centers = (shifts + self.cells) * self.strides[:, None]
        ratios = self.raw_boxes[..., 2:].clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
        halves = ratios * self.anchors / 2
        return torch.cat([centers - halves, centers + halves], dim=2)
