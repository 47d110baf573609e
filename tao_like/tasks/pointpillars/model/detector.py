"""The whole network: points to what is said of each anchor, and to boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tao_like.tasks.pointpillars.model.anchors import decode, make_anchors, pointed
from tao_like.tasks.pointpillars.model.backbone import BevBackbone
from tao_like.tasks.pointpillars.model.pillars import PillarFeatures
from tao_like.tasks.pointpillars.spec_blocks.model import AnchorSpec

BOX_VALUES = 7
FOREGROUND = 0.01
"""Score of every anchor before the first step; else the many empty ones swamp the loss (RetinaNet)."""


class AnchorHead(nn.Module):
    """Classes, box and direction of every anchor.

    Args:
        channels: of the map.
        anchors: of a cell.
        classes: how many.
        has_direction: front and rear are told apart.
    """

    def __init__(self, channels: int, anchors: int, num_classes: int, *, has_direction: bool) -> None:
        super().__init__()
        self.anchors = anchors
        self.classes = nn.Conv2d(channels, anchors * num_classes, 1)
        self.boxes = nn.Conv2d(channels, anchors * BOX_VALUES, 1)
        self.directions = nn.Conv2d(channels, anchors * 2, 1) if has_direction else None
        nn.init.constant_(self.classes.bias, -math.log((1 - FOREGROUND) / FOREGROUND))  # type: ignore[arg-type]
        nn.init.normal_(self.boxes.weight, std=0.001)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, channels, h, w) to logits (B, A, classes), codes (B, A, 7), directions (B, A, 2)."""
        parts = [self.classes(features), self.boxes(features)]
        if self.directions is not None:
            parts.append(self.directions(features))
        # Anchors in the order of ``make_anchors``: cells row by row, those of a cell after each other.
        cells = features.shape[2] * features.shape[3]
        return tuple(
            part.permute(0, 2, 3, 1).reshape(
                part.shape[0], cells * self.anchors, part.shape[1] // self.anchors
            )
            for part in parts
        )


class PointPillars(nn.Module):
    """PointPillars: Fast Encoders for Object Detection from Point Clouds (Lang et al. 2019).

    Args:
        pillars: from points to a map.
        backbone: over the map.
        anchors: of each class.
        limits: smallest x, y, z and largest x, y, z in metres.
        stride: pillars along a side of a cell of the head.
        has_direction: front and rear are told apart.
        direction_offset: angle in radians where the first direction begins.
    """

    def __init__(
        self,
        pillars: PillarFeatures,
        backbone: BevBackbone,
        anchors: Sequence[AnchorSpec],
        limits: Sequence[float],
        stride: int,
        *,
        has_direction: bool = True,
        direction_offset: float = 0.78539,
    ) -> None:
        super().__init__()
        self.pillars = pillars
        self.backbone = backbone
        self.class_anchors = tuple(anchors)
        self.direction_offset = direction_offset
        of_cell = sum(one.count for one in anchors)
        self.head = AnchorHead(backbone.channels_out, of_cell, len(anchors), has_direction=has_direction)
        cells = (pillars.grid.count[0] // stride, pillars.grid.count[1] // stride)
        made = make_anchors(anchors, limits, cells)
        together = len({one.align_center for one in anchors}) == 1
        self.anchors: Tensor
        self.centers: Tensor
        self.shapes: Tensor
        self.register_buffer("anchors", made, persistent=False)
        self.register_buffer(
            "centers", (made[:, :1] if together else made)[..., :2].clone(), persistent=False
        )
        self.register_buffer("shapes", made[0, :, 2:].clone(), persistent=False)

    @property
    def outputs(self) -> list[nn.Module]:
        """Layers whose number of channels the task gives."""
        head = self.head
        layers = [self.pillars.linear, head.classes, head.boxes]
        return [*layers, head.directions] if head.directions is not None else layers

    def forward(self, points: Tensor, frames: int | None = None) -> tuple[Tensor, ...]:
        """Logits (B, A, classes), codes (B, A, 7), and directions (B, A, 2) where there are any.

        Args:
            points: (P, 5): number of the frame, x, y, z in metres, strength of the echo from 0 to 1.
            frames: how many there are; None: by the numbers.
        """
        if frames is None:
            frames = int(points[:, 0].max()) + 1
        return self.head(self.backbone(self.pillars(points, frames)))

    def decode(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Boxes (B, A, 7), and scores (B, A, classes) from 0 to 1, of what ``forward`` gave."""
        frames = values[1].shape[0]
        cells, of_cell = self.anchors.shape[:2]
        codes = values[1].reshape(frames, cells, of_cell, BOX_VALUES)
        boxes = decode(codes, self.centers, self.shapes).reshape(frames, cells * of_cell, BOX_VALUES)
        if len(values) > 2:
            # Not argmax: which of two is a comparison, and that needs no integer type of its own.
            halves = (values[2][..., 1:] > values[2][..., :1]).to(boxes.dtype)
            yaw = pointed(boxes[..., 6:], halves, self.direction_offset)
            boxes = torch.cat([boxes[..., :6], yaw], dim=-1)
        return boxes, torch.sigmoid(values[0])
