"""Mask R-CNN (He et al. 2017): Faster R-CNN with a small network that says where in a box the object is.

Layers and names are torchvision's, so that its checkpoints fit; RoIAlign and selection are this toolkit's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.runtime.predictions.boxes import Selection
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.faster_rcnn import (
    LEVELS,
    POOLED_LEVELS,
    FasterRcnn,
    Samples,
    image_numbers,
)
from tao_like.tasks.detection.model.for_export import suppressed
from tao_like.tasks.detection.model.roi_align import pooled_regions
from tao_like.tasks.detection.spec_blocks.anchors import FasterRcnnSpec
from tao_like.tasks.instance_segmentation.spec import MaskHeadSpec

# isort: split
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

MASK_BINS = 14
"""Bins of a region along each axis, from which its mask is made."""
MASK_SIDE = 2 * MASK_BINS
"""Cells of a mask along each axis."""
EXAMPLES = 1
"""Regions with a mask where a pass goes through every layer: multiply-accumulates count one object."""


class MaskRcnn(FasterRcnn):
    """Mask R-CNN over a backbone. Arguments as in ``FasterRcnn``, and:

    Args:
        backbone: see there.
        classes: see there.
        width: see there.
        settings: see there.
        masks: the network for masks.
        mean: see there.
        std: see there.
    """

    class_outputs = (*FasterRcnn.class_outputs, "head.roi_heads.mask_predictor.mask_fcn_logits.")

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        width: int,
        settings: FasterRcnnSpec,
        masks: MaskHeadSpec,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(backbone, num_classes, width, settings, mean, std)
        self.dice_weight = masks.dice_weight
        self.roi_heads.mask_head = MaskRCNNHeads(width, [masks.width] * masks.depth, dilation=1)
        self.roi_heads.mask_predictor = MaskRCNNPredictor(masks.width, masks.width, num_classes + 1)

    @property
    def protected(self) -> list[nn.Module]:
        """The layers that pruning leaves as they are."""
        return self.outputs

    @property
    @override
    def outputs(self) -> list[nn.Module]:
        return [*super().outputs, self.roi_heads.mask_predictor.mask_fcn_logits]

    @override
    def forward(self, pixels: Tensor, regions: Tensor | None = None) -> list[Tensor]:
        values = Detector.forward(self, pixels)
        if regions is None:
            return values
        said = self._second_stage(values[:LEVELS], regions.reshape(-1, 4), image_numbers(regions))
        few = regions[:, :EXAMPLES]
        masks = self._mask_logits(values[:LEVELS], few.reshape(-1, 4), image_numbers(few))
        return [*values[LEVELS:-1], *said, masks]

    def _mask_logits(self, maps: Sequence[Tensor], regions: Tensor, images: Tensor) -> Tensor:
        """Logits (K, 1 + classes, 28, 28) of regions (K, 4) of images (K,)."""
        strides: Sequence[float] = self.backbone.strides  # type: ignore[assignment]
        pooled_maps = [each.float() for each in maps[:POOLED_LEVELS]]
        pooled = pooled_regions(pooled_maps, strides, regions, images, MASK_BINS)
        logits: Tensor = self.roi_heads.mask_predictor(self.roi_heads.mask_head(pooled))
        return logits.float()

    def shapes(self, values: Sequence[Tensor], boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        """Where in each box its object is, as probabilities (N, K, 28, 28); 0 where there is no detection.

        Args:
            values: of ``forward``.
            boxes: (N, K, 4) that are left after suppression, filled up with 0.
            scores: (N, K), 0 behind the detections.
            labels: (N, K) class numbers.
        """
        count = int(boxes.shape[1])
        flat, of_class = boxes.reshape(-1, 4), labels.reshape(-1) + 1
        # Only real detections are looked at, and the first box in any case: no layer has an empty batch then.
        first = torch.zeros(1, dtype=torch.int64, device=boxes.device)
        positions = torch.cat([first, (scores.reshape(-1) > 0).nonzero().reshape(-1)])
        logits = self._mask_logits(values[:LEVELS], flat[positions], image_numbers(boxes)[positions])
        own = of_class[positions][:, None, None, None].expand(-1, 1, MASK_SIDE, MASK_SIDE)
        found = logits.gather(1, own).sigmoid().reshape(-1, MASK_SIDE**2)
        empty = torch.zeros_like(flat[:, :1]).expand(-1, MASK_SIDE**2)
        spread = empty.scatter(0, positions[:, None].expand(-1, MASK_SIDE**2), found)
        is_real = (scores > 0)[..., None, None]
        return spread.reshape(-1, count, MASK_SIDE, MASK_SIDE) * is_real

    def instances(self, values: Sequence[Tensor], selection: Selection) -> tuple[Tensor, ...]:
        """What ships of the values of ``forward``; see ``InstancesForExport``."""
        boxes, scores, labels, count = suppressed(*self.decode(values), selection)
        return boxes, scores, labels, count, self.shapes(values, boxes, scores, labels)

    def instance_losses(
        self,
        values: Sequence[Tensor],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        masks: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """The parts of the loss of a batch.

        Args:
            values: of ``forward``.
            boxes: of each image (G, 4), in pixels of the input.
            labels: of each image (G,) class numbers.
            masks: of each image (G, H, W) of 0 and 1, at the input's size.
        """
        first = self._first_stage(values)
        losses, samples = self.sampled_losses(first, boxes, labels)
        return losses | {"loss_mask": self._mask_loss(first.maps, samples, masks)}

    def _mask_loss(self, maps: Sequence[Tensor], samples: Samples, masks: Sequence[Tensor]) -> Tensor:
        """Binary cross entropy of the cells of the right class's masks, and Dice, of regions on objects."""
        names = torch.cat(samples.names)
        positive = [each > 0 for each in samples.names]
        regions = [each[which] for each, which in zip(samples.regions, positive, strict=True)]
        objects = [each[which] for each, which in zip(samples.objects, positive, strict=True)]
        if not sum(map(len, regions)):
            # Every layer takes part in the loss, which training on several devices needs.
            layers = (self.roi_heads.mask_head, self.roi_heads.mask_predictor)
            sums = [value.sum() for layer in layers for value in layer.parameters()]
            return torch.stack(sums).sum() * 0
        images = torch.cat([torch.full_like(each, number) for number, each in enumerate(objects)])
        logits = self._mask_logits(maps, torch.cat(regions), images)
        of_class = names[torch.cat(positive)]
        own = logits[torch.arange(len(logits), device=logits.device), of_class]
        wanted = torch.cat(
            [target_shapes(*each) for each in zip(masks, regions, objects, strict=True) if len(each[1])]
        )
        loss = functional.binary_cross_entropy_with_logits(own, wanted)
        return loss + self.dice_weight * mask_dice(own, wanted) if self.dice_weight else loss


def mask_dice(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean Dice loss of masks (R, M, M): 1 - (2 * intersection + 1) / (sum of both + 1)."""
    found, wanted = logits.sigmoid().flatten(1), wanted.flatten(1)
    both = found.sum(dim=1) + wanted.sum(dim=1)
    return (1 - (2 * (found * wanted).sum(dim=1) + 1) / (both + 1)).mean()


@torch.no_grad()
def target_shapes(masks: Tensor, regions: Tensor, objects: Tensor) -> Tensor:
    """The part of objects' masks within regions, in cells as the network gives them.

    As in torchvision a cell is a mean, so it may lie between 0 and 1; of 2 x 2 points, as in RoIAlign.

    Args:
        masks: (G, H, W) of an image, 0 and 1.
        regions: (R, 4), R at least 1.
        objects: (R,) number of each region's object.

    Returns:
        (R, 28, 28), 0 to 1.
    """
    shapes = pooled_regions([masks[:, None].float()], [1.0], regions, objects, MASK_SIDE)
    return shapes[:, 0].clamp(0, 1)
