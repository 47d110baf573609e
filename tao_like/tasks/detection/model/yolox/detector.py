"""YOLOX as a detector: over its own backbone, or over any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from typing_extensions import override

from tao_like.tasks.detection.losses.simota import yolox_losses
from tao_like.tasks.detection.model.object_detector import ObjectDetector
from tao_like.tasks.detection.model.yolox.parts import (
    YOLOX_SIZES,
    CspDarknet,
    PathAggregation,
    YoloxHead,
)
from tao_like.tasks.detection.model.yolox.predictions import Predictions

NECK_BLOCKS = 3


class YoloxDetector(ObjectDetector):
    """YOLOX over a backbone.

    Args:
        backbone: gives three maps; has ``channels`` and ``strides``.
        neck: from these maps to three others.
        head: from these to values for each location.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        head: YoloxHead,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(backbone, neck, head, mean, std)
        self.strides: tuple[float, ...] = tuple(cast("Sequence[float]", backbone.strides))

    @override
    def predictions(self, values: Sequence[Tensor]) -> Predictions:
        """The meaning of maps (N, 5 + classes, h, w)."""
        return Predictions.of(values, self.strides)

    @override
    def losses(
        self, values: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, refine: bool
    ) -> dict[str, Tensor]:
        return yolox_losses(values, self.strides, boxes, labels, refine=refine)


def yolox(size: str, num_classes: int) -> YoloxDetector:
    """YOLOX in a published size: nano, tiny, s, m, l or x. Its input is pixels as they are, 0 to 255."""
    chosen = YOLOX_SIZES[size]
    backbone = CspDarknet(chosen)
    depth, separable = chosen.blocks(NECK_BLOCKS), chosen.separable
    neck = PathAggregation(backbone.channels, backbone.channels, depth, separable=separable)
    head = YoloxHead(backbone.channels, chosen.channels(256), num_classes, separable=separable)
    return YoloxDetector(backbone, neck, head, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))


def yolox_over(
    backbone: nn.Module,
    num_classes: int,
    width: int,
    depth: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> YoloxDetector:
    """YOLOX's neck and head over a backbone that gives three maps.

    Args:
        backbone: has ``channels`` and ``strides``.
        num_classes: number of classes.
        width: channels of neck and head.
        depth: bottlenecks in each layer of the neck.
        mean: of the backbone's weights.
        std: likewise.
    """
    widths = (width, width, width)
    neck = PathAggregation(cast("Sequence[int]", backbone.channels), widths, depth)
    return YoloxDetector(backbone, neck, YoloxHead(widths, width, num_classes), mean, std)
