"""RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection"): torchvision's head, any backbone.

torchvision's model as a whole is not used: it preprocesses images by itself, and its suppression needs
torchvision's compiled operators, which are not everywhere (see ``networks._torchvision``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.detection.losses.simota import box_iou
from tao_like.tasks.detection.model.anchor_boxes import anchor_boxes
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.feature_pyramid import FeaturePyramid

# isort: split
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

SIDES = (32, 64, 128, 256, 512)
"""Side of the smallest of the three anchors at each location of a map, in pixels, fine to coarse."""
STEPS_AN_OCTAVE = 3
RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors."""
FOREGROUND, BACKGROUND = 0.5, 0.4
"""Overlaps from which on, and below which, an anchor is and is not responsible for an object."""


class RetinaNet(Detector):
    """RetinaNet over a backbone.

    Args:
        backbone: gives three maps; has ``channels``.
        classes: number of classes.
        width: channels of neck and head; 256 in the paper.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
    """

    class_outputs = ("head.classification_head.cls_logits.",)

    def __init__(
        self, backbone: nn.Module, num_classes: int, width: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        sizes = tuple(
            tuple(int(side * 2 ** (step / STEPS_AN_OCTAVE)) for step in range(STEPS_AN_OCTAVE))
            for side in SIDES
        )
        anchors = AnchorGenerator(sizes, (RATIOS,) * len(SIDES))
        head = RetinaNetHead(width, anchors.num_anchors_per_location()[0], num_classes)
        neck = FeaturePyramid(cast("Sequence[int]", backbone.channels), width, LastLevelP6P7(width, width))
        super().__init__(backbone, neck, head, mean, std)
        self.anchors = anchors
        self.coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.matcher = Matcher(FOREGROUND, BACKGROUND, allow_low_quality_matches=True)

    @property
    @override
    def outputs(self) -> list[nn.Module]:
        head: Any = self.head
        return [head.classification_head.cls_logits, head.regression_head.bbox_reg]

    @override
    def from_normalized(self, inputs: Tensor) -> list[Tensor]:
        """Class logits (N, A, classes), box values (N, A, 4) and anchors (A, 4)."""
        maps = self.neck(self.backbone(inputs))
        values = self.head(maps)
        anchors = anchor_boxes(self.anchors, inputs, maps)
        return [values["cls_logits"], values["bbox_regression"], anchors]

    @override
    def decode(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        logits, regression, anchors = values
        flat = regression.float().reshape(-1, 4)
        boxes = self.coder.decode_single(flat, anchors.repeat(regression.shape[0], 1))
        return boxes.reshape(-1, anchors.shape[0], 4), logits.float().sigmoid()

    @override
    def losses(
        self, values: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, refine: bool
    ) -> dict[str, Tensor]:
        del refine
        logits, regression, anchors = values
        targets = [{"boxes": box, "labels": label} for box, label in zip(boxes, labels, strict=True)]
        given = {"cls_logits": logits.float(), "bbox_regression": regression.float()}
        matches = [self._matches(box, anchors) for box in boxes]
        head: Any = self.head
        parts = head.compute_loss(targets, given, [anchors] * len(targets), matches)
        return {"loss_class": parts["classification"], "loss_box": parts["bbox_regression"]}

    @torch.no_grad()
    def _matches(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """For each anchor the number of its object, -1 for background, -2 for in between."""
        if not len(boxes):
            return torch.full((len(anchors),), Matcher.BELOW_LOW_THRESHOLD, device=anchors.device)
        return cast("Tensor", self.matcher(box_iou(boxes, anchors)))
