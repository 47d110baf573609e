"""The loss of the YOLO networks with anchors: which anchors learn an object, and how far off they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.detection.anchors.presets import AnchorPlan
from tao_like.tasks.detection.losses.simota import box_iou
from tao_like.tasks.detection.model.yolo.predictions import AnchorPredictions

# isort: split
from torchvision.ops import complete_box_iou_loss


def shape_iou(shapes: Tensor, anchors: Tensor) -> Tensor:
    """Intersection over union (G, K) of shapes (G, 2) and anchors (K, 2) with the same center."""
    common = torch.minimum(shapes[:, None], anchors[None]).prod(dim=2)
    return common / (shapes.prod(dim=1)[:, None] + anchors.prod(dim=1)[None] - common).clamp(min=1e-9)


@torch.no_grad()
def responsible(predictions: AnchorPredictions, plan: AnchorPlan, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of location and anchor are responsible for the objects of an image.

    Each object has the anchor whose shape overlaps its own best, over all maps, and all others that overlap
    it by more than the plan's threshold; of each, the location in whose cell its center lies. A pair wanted
    by several objects goes to the one whose shape fits best.

    Args:
        predictions: of the batch; their values play no part.
        plan: anchors and thresholds.
        boxes: (G, 4) the objects in pixels of the input; none is fine.

    Returns:
        Numbers of the pairs (P,), and the number of the object of each (P,).
    """
    if len(boxes) == 0:
        none = torch.zeros(0, dtype=torch.int64, device=boxes.device)
        return none, none
    anchors = torch.tensor([shape for of_map in plan.shapes for shape in of_map], device=boxes.device)
    ious = shape_iou(boxes[:, 2:] - boxes[:, :2], anchors)
    wanted = ious > plan.box_matching_iou
    wanted[torch.arange(len(boxes), device=boxes.device), ious.argmax(dim=1)] = True
    pairs = _pairs_of(predictions, plan, (boxes[:, :2] + boxes[:, 2:]) / 2)
    matched_ious = ious.new_zeros(len(boxes), len(predictions.strides))
    matched_ious.scatter_(1, pairs, ious * wanted)
    best, objects = matched_ious.max(dim=0)
    positions = best.nonzero().flatten()
    return positions, objects[positions]


def _pairs_of(predictions: AnchorPredictions, plan: AnchorPlan, centers: Tensor) -> Tensor:
    """(G, K): for each center and anchor the number of the pair in whose cell the center lies."""
    first, pairs = 0, []
    for (height, width), count in zip(predictions.grids, plan.counts, strict=True):
        stride = predictions.strides[first]
        columns = (centers[:, 0] / stride).long().clamp(0, width - 1)
        rows = (centers[:, 1] / stride).long().clamp(0, height - 1)
        offsets = first + torch.arange(count, device=centers.device) * height * width
        pairs.append(offsets[None] + (rows * width + columns)[:, None])
        first += count * height * width
    return torch.cat(pairs, dim=1)


def anchor_losses(
    maps: Sequence[Tensor],
    strides: Sequence[float],
    plan: AnchorPlan,
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
) -> dict[str, Tensor]:
    """The terms of the loss of a batch, each divided by the number of pairs that are responsible.

    Args:
        maps: of the head.
        strides: of the maps.
        plan: anchors, thresholds and weights.
        boxes: for each image (G, 4), in pixels of the input.
        labels: for each image (G,) class numbers.

    Returns:
        ``loss_box`` (complete IoU, Zheng et al. 2020), ``loss_object`` and ``loss_class`` (binary
        cross-entropy). A pair that is responsible for no object, and whose box overlaps one by more than
        the plan's neutral overlap, has no part in ``loss_object``.
    """
    predictions = AnchorPredictions(maps, strides, plan)
    corners = predictions.corners()
    classes = predictions.classes.shape[2]
    is_object = torch.zeros_like(predictions.objects)
    weights = torch.full_like(predictions.objects, plan.negative_weight)
    of_boxes = of_classes = predictions.objects.new_zeros(())
    count = 0
    for image, (of_image, names) in enumerate(zip(boxes, labels, strict=True)):
        if len(of_image) == 0:
            continue
        positions, objects = responsible(predictions, plan, of_image)
        nearest = box_iou(of_image, corners[image].detach()).amax(dim=0)
        weights[image, nearest > plan.neutral_iou] = 0.0
        is_object[image, positions] = weights[image, positions] = 1.0
        count += len(positions)
        of_boxes = of_boxes + complete_box_iou_loss(
            corners[image, positions], of_image[objects], reduction="sum"
        )
        of_classes = of_classes + functional.binary_cross_entropy_with_logits(
            predictions.classes[image, positions],
            functional.one_hot(names[objects], classes).float(),
            reduction="sum",
        )
    of_objects = functional.binary_cross_entropy_with_logits(
        predictions.objects, is_object, weights, reduction="sum"
    )
    # Batches without an object still reach every layer, or ddp would wait for gradients that never come.
    parts = {
        "loss_box": plan.box_weight * of_boxes + 0.0 * predictions.raw_boxes.sum(),
        "loss_object": of_objects,
        "loss_class": plan.class_weight * of_classes + 0.0 * predictions.classes.sum(),
    }
    return {name: value / max(count, 1) for name, value in parts.items()}
