"""Faster R-CNN (Ren et al. 2015) over a feature pyramid (Lin et al. 2017): torchvision's parts, any backbone.

torchvision's model as a whole is not used, for the reasons given in ``retinanet``. Its anchors, matching,
sampling, heads and losses are; regions and RoIAlign are written so that they run on any machine and export
with a free batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.runtime.predictions.boxes import Selection
from tao_like.tasks.common.boxes.top_indices import top_indices
from tao_like.tasks.detection.model.anchor_boxes import anchor_boxes
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.feature_pyramid import FeaturePyramid
from tao_like.tasks.detection.model.for_export import suppressed
from tao_like.tasks.detection.model.roi_align import BINS, pooled_regions
from tao_like.tasks.detection.spec_blocks.anchors import FasterRcnnSpec

# isort: split
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors."""
LEVELS = 5
POOLED_LEVELS = 4
"""The coarsest of the five maps has anchors, but regions are not read from it."""
SMALLEST_REGION, SMALLEST_BOX = 1e-3, 1e-2
"""Sides in pixels below which a region and a prediction are dropped."""
FEWEST_PREDICTIONS = 1000
"""Pairs of a region and a class that are predictions: so many, or one a region where that is more."""


@dataclass(frozen=True)
class _FirstStage:
    """What the first stage says of a batch.

    Attributes:
        maps: five, fine to coarse.
        objectness: (N, A) logits: whether an anchor is near an object.
        deltas: (N, A, 4): how far the object's box is off the anchor.
        anchors: (A, 4).
        counts: anchors of each map.
    """

    maps: Sequence[Tensor]
    objectness: Tensor
    deltas: Tensor
    anchors: Tensor
    counts: list[int]


class Samples(NamedTuple):
    """The regions that the second stage's loss takes, an item for each image.

    Attributes:
        regions: (R, 4).
        objects: (R,) number of the object that each is nearest to.
        names: (R,) class number of it, counted from 1; 0: there is no object.
    """

    regions: list[Tensor]
    objects: list[Tensor]
    names: list[Tensor]


class _Heads(nn.Module):
    """Both stages, under torchvision's names."""

    def __init__(self, width: int, num_classes: int, settings: FasterRcnnSpec) -> None:
        super().__init__()
        sizes = tuple((size,) for size in settings.anchor_sizes)
        anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
        self.rpn = RegionProposalNetwork(
            anchors,
            RPNHead(width, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=settings.rpn_batch_size_per_image,
            positive_fraction=0.5,
            pre_nms_top_n={
                "training": settings.rpn_pre_nms_top_n_train,
                "testing": settings.rpn_pre_nms_top_n_test,
            },
            post_nms_top_n={
                "training": settings.rpn_post_nms_top_n_train,
                "testing": settings.rpn_post_nms_top_n_test,
            },
            nms_thresh=settings.rpn_nms_thresh,
        )
        self.roi_heads = RoIHeads(
            None,
            TwoMLPHead(width * BINS**2, settings.representation_size),
            FastRCNNPredictor(settings.representation_size, num_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=settings.box_batch_size_per_image,
            positive_fraction=0.25,
            bbox_reg_weights=None,
            score_thresh=0.0,
            nms_thresh=1.0,
            detections_per_img=1,
        )


class FasterRcnn(Detector):
    """Faster R-CNN over a backbone.

    Args:
        backbone: gives four maps, strides 4 to 32; has ``channels`` and ``strides``.
        classes: number of classes.
        width: channels of neck and heads; 256 in the paper.
        settings: of both stages.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
    """

    class_outputs: tuple[str, ...] = ("head.roi_heads.box_predictor.",)
    predicts_by_location = False

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        width: int,
        settings: FasterRcnnSpec,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        neck = FeaturePyramid(cast("Sequence[int]", backbone.channels), width, LastLevelMaxPool())
        head = _Heads(width, num_classes, settings)
        super().__init__(backbone, neck, head, mean, std)
        self.stride = cast("Sequence[int]", backbone.strides)[0]

    @property
    def rpn(self) -> RegionProposalNetwork:
        """The first stage."""
        return cast("_Heads", self.head).rpn

    @property
    def roi_heads(self) -> RoIHeads:
        """The second stage."""
        return cast("_Heads", self.head).roi_heads

    @property
    @override
    def outputs(self) -> list[nn.Module]:
        first, last = self.rpn.head, self.roi_heads.box_predictor
        return [first.cls_logits, first.bbox_pred, last.cls_score, last.bbox_pred]

    @override
    def example_inputs(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """With regions at hand, both stages are one differentiable pass, and nothing depends on an order."""
        with torch.no_grad():
            regions, _ = self._regions(self._first_stage(self(pixels)))
        return pixels, regions

    @override
    def forward(self, pixels: Tensor, regions: Tensor | None = None) -> list[Tensor]:
        """Maps pixels (N, 3, H, W), 0 to 255, to what the first stage says of them.

        With regions (N, P, 4) given: to what both stages say, before any decoding.
        """
        values = super().forward(pixels)
        if regions is None:
            return values
        said = self._second_stage(values[:LEVELS], regions.reshape(-1, 4), image_numbers(regions))
        return [*values[LEVELS:-1], *said]

    @override
    def from_normalized(self, inputs: Tensor) -> list[Tensor]:
        """Five maps, for each its logits (N, 3, h, w) and box values (N, 12, h, w), and anchors (A, 4)."""
        maps = self.neck(self.backbone(inputs))
        objectness, deltas = self.rpn.head(maps)
        anchors = anchor_boxes(self.rpn.anchor_generator, inputs, maps)
        return [*maps, *objectness, *deltas, anchors]

    def _first_stage(self, values: Sequence[Tensor]) -> _FirstStage:
        maps, objectness, deltas = (list(values[at * LEVELS : (at + 1) * LEVELS]) for at in range(3))
        counts = [int(each.shape[1] * each.shape[2] * each.shape[3]) for each in objectness]
        logits, flat = concat_box_prediction_layers(objectness, deltas)
        total = sum(counts)
        return _FirstStage(
            [each.float() for each in maps],
            logits.float().reshape(-1, total),
            flat.float().reshape(-1, total, 4),
            values[-1],
            counts,
        )

    @torch.no_grad()
    def _regions(self, first: _FirstStage) -> tuple[Tensor, Tensor]:
        """The best regions (N, P, 4) of each image, filled up with 0, and how many there are (N,)."""
        positions, levels, start = [], [], 0
        for level, logits in enumerate(first.objectness.split(first.counts, dim=1)):
            best = top_indices(logits, min(self.rpn.pre_nms_top_n(), first.counts[level]))
            positions.append(best + start)
            levels.append(torch.full((int(best.shape[1]),), level, device=best.device))
            start += first.counts[level]
        order, level_of = torch.cat(positions, dim=1), torch.cat(levels)
        count = len(level_of)
        deltas = first.deltas.gather(1, order[..., None].expand(-1, -1, 4))
        boxes = self.rpn.box_coder.decode_single(deltas.reshape(-1, 4), first.anchors[order].reshape(-1, 4))
        boxes = self._inside(boxes.reshape(-1, count, 4), first.maps[0])
        scores = first.objectness.gather(1, order).sigmoid() * _at_least(boxes, SMALLEST_REGION)
        # Regions of different maps do not suppress each other, as if the maps were classes.
        numbers = torch.arange(LEVELS, device=order.device)
        of_level = torch.where(
            level_of[:, None] == numbers, scores[..., None], torch.zeros_like(scores)[..., None]
        )
        selection = Selection(0.0, self.rpn.nms_thresh, self.rpn.post_nms_top_n(), count)
        regions, _, _, found = suppressed(boxes, of_level, selection)
        return regions, found

    def _inside(self, boxes: Tensor, finest: Tensor) -> Tensor:
        """Boxes (..., 4), cut off at the borders of the input."""
        sides = [int(finest.shape[3]) * self.stride, int(finest.shape[2]) * self.stride]
        return boxes.clamp(min=0).minimum(boxes.new_tensor(sides * 2))

    def _second_stage(self, maps: Sequence[Tensor], regions: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (K, 1 + classes) and box values (K, 4 (1 + classes)) of regions (K, 4) of images (K,)."""
        strides = cast("Sequence[float]", self.backbone.strides)
        pooled_maps = [each.float() for each in maps[:POOLED_LEVELS]]
        pooled = pooled_regions(pooled_maps, strides, regions, images)
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(pooled))
        return logits.float(), deltas.float()

    @override
    def decode(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The best pairs of a region and a class, each a box (N, A, 4) with a score in its class alone."""
        first = self._first_stage(values)
        regions, found = self._regions(first)
        flat = regions.reshape(-1, 4)
        logits, deltas = self._second_stage(first.maps, flat, image_numbers(regions))
        amount, classes = int(regions.shape[1]), int(logits.shape[1]) - 1
        boxes = self.roi_heads.box_coder.decode_single(deltas, flat).reshape(-1, amount, classes + 1, 4)
        boxes = self._inside(boxes[:, :, 1:], first.maps[0])
        is_real = torch.arange(amount, device=found.device) < found[:, None]
        scores = logits.softmax(dim=1)[:, 1:].reshape(-1, amount, classes)
        scores = scores * is_real[..., None] * _at_least(boxes, SMALLEST_BOX)
        most = min(max(FEWEST_PREDICTIONS, amount), amount * classes)
        order = top_indices(scores.flatten(1), most)
        best = scores.flatten(1).gather(1, order)
        boxes = boxes.reshape(-1, amount * classes, 4).gather(1, order[..., None].expand(-1, -1, 4))
        is_own = (order % classes)[..., None] == torch.arange(classes, device=order.device)
        return boxes, torch.where(is_own, best[..., None], torch.zeros_like(best)[..., None])

    @override
    def losses(
        self, values: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], *, refine: bool
    ) -> dict[str, Tensor]:
        del refine
        return self.sampled_losses(self._first_stage(values), boxes, labels)[0]

    def sampled_losses(
        self, first: _FirstStage, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], Samples]:
        """The parts of the loss of a batch, and the regions that the second stage's loss took."""
        # Class 0 is the background.
        targets = [{"boxes": box, "labels": label + 1} for box, label in zip(boxes, labels, strict=True)]
        anchors = [first.anchors] * len(targets)
        is_near, matched = self.rpn.assign_targets_to_anchors(anchors, targets)
        offsets = self.rpn.box_coder.encode(matched, anchors)
        objectness, rpn_box = self.rpn.compute_loss(
            first.objectness, first.deltas.reshape(-1, 4), is_near, offsets
        )
        regions, found = self._regions(first)
        proposals = [each[:count] for each, count in zip(regions, found.tolist(), strict=True)]
        chosen, objects, names, wanted = self.roi_heads.select_training_samples(proposals, targets)
        images = torch.cat([torch.full_like(name, number) for number, name in enumerate(names)])
        logits, deltas = self._second_stage(first.maps, torch.cat(chosen), images)
        classifier, box_reg = fastrcnn_loss(logits, deltas, names, wanted)
        losses = {
            "loss_objectness": objectness,
            "loss_rpn_box_reg": rpn_box,
            "loss_classifier": classifier,
            "loss_box_reg": box_reg,
        }
        return losses, Samples(chosen, objects, names)


def image_numbers(regions: Tensor) -> Tensor:
    """For each of the regions (N, P, 4) laid side by side the number of its image (N * P,)."""
    numbers = torch.arange(regions.shape[0], device=regions.device)
    return numbers[:, None].expand(-1, int(regions.shape[1])).reshape(-1)


def _at_least(boxes: Tensor, side: float) -> Tensor:
    """Whether boxes (..., 4) are so wide and so high."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= side).all(dim=-1)
