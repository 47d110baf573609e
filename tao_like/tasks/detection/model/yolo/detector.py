"""YOLOv3, YOLOv4 and YOLOv4-tiny as detectors: over the papers' backbones, or over any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from typing_extensions import override

from tao_like.networks.backbones.pyramid import BackbonePyramid
from tao_like.tasks.detection.anchors.presets import AnchorPlan
from tao_like.tasks.detection.losses.anchors import anchor_losses
from tao_like.tasks.detection.model.object_detector import ObjectDetector
from tao_like.tasks.detection.model.yolo.parts import AnchorHead, TinyNeck, YoloV3Neck, YoloV4Neck
from tao_like.tasks.detection.model.yolo.predictions import AnchorPredictions

NECKS: dict[str, type[YoloV3Neck | YoloV4Neck | TinyNeck]] = {
    "yolo_v3": YoloV3Neck,
    "yolo_v4": YoloV4Neck,
    "yolo_v4_tiny": TinyNeck,
}
_PAPERS = {
    ("yolo_v3", "darknet53"): (256, 512, 1024),
    ("yolo_v4", "cspdarknet53"): (256, 512, 1024),
    ("yolo_v4_tiny", "cspdarknet_tiny"): (256, 512),
}
"""Channels of neck and head at each map, fine to coarse, over the backbone of the paper."""


def neck_widths(arch: str, backbone: str, width: int) -> tuple[int, ...]:
    """Channels of neck and head at each map, fine to coarse: over its own backbone the paper's.

    Args:
        arch: ``yolo_v3``, ``yolo_v4`` or ``yolo_v4_tiny``.
        backbone: its name, perhaps with a tag of its weights behind a point.
        width: of all maps over another backbone.
    """
    maps = 2 if arch == "yolo_v4_tiny" else 3
    return _PAPERS.get((arch, backbone.partition(".")[0]), (width,) * maps)


class AnchorDetector(ObjectDetector):
    """A YOLO network with anchors.

    Args:
        arch: ``yolo_v3``, ``yolo_v4`` or ``yolo_v4_tiny``.
        backbone: gives maps, fine to coarse; has ``channels`` and ``strides``. Of three, ``yolo_v4_tiny``
            takes the last two.
        widths: of neck and head at each map that is used.
        plan: the anchors of each of these maps.
        classes: number of classes.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
    """

    def __init__(
        self,
        arch: str,
        backbone: nn.Module,
        widths: Sequence[int],
        plan: AnchorPlan,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        neck = NECKS[arch](cast("Sequence[int]", backbone.channels), widths)
        head = AnchorHead(neck.channels, widths, plan.counts, num_classes)
        super().__init__(backbone, neck, head, mean, std)
        if (
            isinstance(backbone, BackbonePyramid)
            and backbone.is_plain
            and len(widths) < len(backbone.channels)
        ):
            # Nobody takes this map, and ddp would wait for the gradients of its layer.
            backbone.enlarge = nn.Identity()
        self.plan = plan
        strides = tuple(cast("Sequence[float]", backbone.strides))
        self.strides: tuple[float, ...] = strides[-len(plan.shapes) :]

    @override
    def predictions(self, values: Sequence[Tensor]) -> AnchorPredictions:
        """The meaning of maps (N, anchors, 5 + classes, h, w)."""
        return AnchorPredictions(values, self.strides, self.plan)

    @override
    def losses(
        self, values: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, refine: bool
    ) -> dict[str, Tensor]:
        del refine
        return anchor_losses(values, self.strides, self.plan, boxes, labels)
