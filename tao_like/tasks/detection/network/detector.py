"""A detector: normalisation, backbone, neck and head, and what its head's values mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tao_like.networks.normalise import Normalise
from tao_like.tasks.detection.network.yolox import (
    BOX_VALUES,
    YOLOX_SIZES,
    CspDarknet,
    PathAggregation,
    YoloxHead,
)

LARGEST_LOG_SIDE = 10.0
"""A box side is exp(value) strides; a larger value would be infinite soon, and no picture is that large."""
NECK_BLOCKS = 3


class Detector(nn.Module):
    """YOLOX over any backbone.

    Args:
        backbone: gives three maps; has ``channels`` and ``strides``.
        neck: from these maps to three others.
        head: from these to values for each place.
        mean: of the normalisation, 0 to 1.
        std: of the normalisation.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        head: YoloxHead,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.strides: tuple[float, ...] = tuple(cast("Sequence[float]", backbone.strides))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Maps pixels (N, 3, H, W), 0 to 255, to the head's maps (N, 5 + classes, h, w), fine to coarse."""
        return self.from_normalised(self.normalise(pixels))

    def from_normalised(self, inputs: Tensor) -> list[Tensor]:
        """As ``forward``, for inputs that the caller has normalised."""
        maps: list[Tensor] = self.head(self.neck(self.backbone(inputs)))
        return maps

    def decode(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Boxes (N, A, 4) as left, top, right, bottom in pixels, and scores (N, A, classes)."""
        predictions = Predictions.of(maps, self.strides)
        return predictions.corners(), predictions.classes.sigmoid() * predictions.objects.sigmoid()[..., None]


class Predictions:
    """The head's values for all A places of a batch, side by side, in float32.

    Attributes:
        raw_boxes: (N, A, 4): centre and side, as the head gives them.
        objects: (N, A) logits.
        classes: (N, A, classes) logits.
        cells: (A, 2): column and row of each place in its map.
        strides: (A,) pixels between places of its map.
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
        places = [
            torch.full((len(cell),), float(stride), device=device)
            for cell, stride in zip(cells, strides, strict=True)
        ]
        return cls(
            values[..., :BOX_VALUES],
            values[..., BOX_VALUES],
            values[..., BOX_VALUES + 1 :],
            torch.cat(cells),
            torch.cat(places),
        )

    def corners(self) -> Tensor:
        """(N, A, 4): left, top, right, bottom in pixels."""
        scale = self.strides[:, None]
        centres = (self.raw_boxes[..., :2] + self.cells) * scale
        halves = self.raw_boxes[..., 2:].clamp(max=LARGEST_LOG_SIDE).exp() * scale / 2
        return torch.cat([centres - halves, centres + halves], dim=2)

    def encode(self, boxes: Tensor, places: Tensor) -> Tensor:
        """What the head should say at places (P,) to give boxes (P, 4): the inverse of ``corners``."""
        scale = self.strides[places, None]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / scale - self.cells[places]
        sides = ((boxes[:, 2:] - boxes[:, :2]) / scale).clamp(min=1e-6).log()
        return torch.cat([centres, sides], dim=1)


def yolox(size: str, classes: int) -> Detector:
    """YOLOX in a published size: nano, tiny, s, m, l or x. Its input is pixels as they are, 0 to 255."""
    chosen = YOLOX_SIZES[size]
    backbone = CspDarknet(chosen)
    depth, separable = chosen.blocks(NECK_BLOCKS), chosen.separable
    neck = PathAggregation(backbone.channels, backbone.channels, depth, separable=separable)
    head = YoloxHead(backbone.channels, chosen.channels(256), classes, separable=separable)
    return Detector(backbone, neck, head, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))


def yolox_over(
    backbone: nn.Module,
    classes: int,
    width: int,
    depth: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Detector:
    """YOLOX's neck and head over a backbone that gives three maps.

    Args:
        backbone: has ``channels`` and ``strides``.
        classes: number of classes.
        width: channels of neck and head.
        depth: bottlenecks in each layer of the neck.
        mean: of the backbone's weights.
        std: likewise.
    """
    widths = (width, width, width)
    neck = PathAggregation(cast("Sequence[int]", backbone.channels), widths, depth)
    return Detector(backbone, neck, YoloxHead(widths, width, classes), mean, std)
