"""YOLOX's loss: which locations learn which object (SimOTA), and how far their predictions are off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.tasks.detection.model.yolox.predictions import Predictions

CENTER_RADIUS = 1.5
"""Strides around an object's center, along each axis, within which locations may be responsible for it."""
TOP_IOUS = 10
"""The best overlaps whose sum says how many locations are responsible for an object."""
IOU_WEIGHT = 3.0
"""Weight of the overlap in the cost of a location."""
BOX_WEIGHT = 5.0
"""Weight of the overlap in the loss."""
NOT_ALLOWED = 1e6
TINY = 1e-8


@dataclass(frozen=True)
class Assignment:
    """Which locations of an image are responsible for which object.

    Attributes:
        locations: (P,) numbers of the locations that are responsible.
        objects: (P,) number of the object of each.
        ious: (P,) intersection over union of the location's box and its object.
    """

    locations: Tensor
    objects: Tensor
    ious: Tensor


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (N, M) of boxes (N, 4) with others (M, 4)."""
    return _paired_iou(boxes[:, None, :], others[None, :, :])


def _paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    sides = (
        torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    ).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    areas = [(each[..., 2] - each[..., 0]) * (each[..., 3] - each[..., 1]) for each in (boxes, others)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-9)


@torch.no_grad()
def assign(
    predictions: Predictions, corners: Tensor, image: int, boxes: Tensor, labels: Tensor
) -> Assignment:
    """SimOTA for one image: each object gets the locations that predict it best, as many as fit it well.

    Args:
        predictions: of the batch.
        corners: (A, 4) the boxes that the image's locations predict.
        image: its number in the batch.
        boxes: (G, 4) the objects, in pixels of the input; none is fine.
        labels: (G,) class numbers.
    """
    none = boxes.new_zeros(0, dtype=torch.int64)
    if len(boxes) == 0:
        return Assignment(none, none, boxes.new_zeros(0))
    near = _near_centers(predictions, boxes)
    candidates = near.any(dim=0).nonzero().flatten()
    if len(candidates) == 0:
        return Assignment(none, none, boxes.new_zeros(0))
    ious = box_iou(boxes, corners[candidates])
    scores = (
        predictions.classes[image, candidates].sigmoid()
        * predictions.objects[image, candidates].sigmoid()[:, None]
    ).sqrt()
    # Binary cross-entropy of all classes, with the object's own as 1, from the sums of its two logarithms.
    yes, no = scores.clamp(min=TINY).log(), (1 - scores).clamp(min=TINY).log()
    class_cost = (no[:, labels] - yes[:, labels]).T - no.sum(dim=1)
    cost = class_cost - IOU_WEIGHT * (ious + TINY).log() + NOT_ALLOWED * ~near[:, candidates]
    return _matched(cost, ious, candidates)


def _near_centers(predictions: Predictions, boxes: Tensor) -> Tensor:
    """(G, A): whether a location lies near the center of an object."""
    locations = (predictions.cells + 0.5) * predictions.strides[:, None]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = (locations[None] - centers[:, None]).abs().amax(dim=2)
    return distance < CENTER_RADIUS * predictions.strides


def _matched(cost: Tensor, ious: Tensor, candidates: Tensor) -> Assignment:
    """From costs (G, C) to locations: as many an object as its best overlaps sum to, each for one object."""
    most = min(TOP_IOUS, ious.shape[1])
    counts = ious.topk(most, dim=1).values.sum(dim=1).int().clamp(min=1)
    order = cost.argsort(dim=1, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    chosen = (rank < counts[:, None]) & (cost < NOT_ALLOWED)
    # A location that several objects want goes to the one for which it costs least.
    cheapest = cost.masked_fill(~chosen, float("inf")).argmin(dim=0)
    is_taken = chosen.any(dim=0)
    objects = cheapest[is_taken]
    return Assignment(candidates[is_taken], objects, ious[objects, is_taken.nonzero().flatten()])


def yolox_losses(
    maps: Sequence[Tensor],
    strides: Sequence[float],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    refine: bool,
) -> dict[str, Tensor]:
    """The terms of the loss of a batch, each divided by the number of locations that are responsible.

    Args:
        maps: of the head.
        strides: of the maps.
        boxes: for each image (G, 4), in pixels of the input.
        labels: for each image (G,) class numbers.
        refine: add the L1 distance of the head's box values; for the end of a training.

    Returns:
        ``loss_box`` (5 (1 - IoU²)), ``loss_object`` and ``loss_class`` (binary cross-entropy; the class is
        weighted with the overlap), and ``loss_l1``.
    """
    predictions = Predictions.of(maps, strides)
    corners = predictions.corners()
    classes = predictions.classes.shape[2]
    is_object = torch.zeros_like(predictions.objects)
    total = predictions.objects.new_zeros(())
    parts = {"loss_box": total, "loss_class": total, "loss_l1": total}
    count = 0
    for image, (of_image, names) in enumerate(zip(boxes, labels, strict=True)):
        found = assign(predictions, corners[image].detach(), image, of_image, names)
        if len(found.locations) == 0:
            continue
        count += len(found.locations)
        is_object[image, found.locations] = 1.0
        wanted = of_image[found.objects]
        iou = _paired_iou(corners[image, found.locations], wanted)
        parts["loss_box"] = parts["loss_box"] + (1 - iou**2).sum()
        soft = functional.one_hot(names[found.objects], classes) * found.ious[:, None]
        parts["loss_class"] = parts["loss_class"] + functional.binary_cross_entropy_with_logits(
            predictions.classes[image, found.locations], soft, reduction="sum"
        )
        if refine:
            target = predictions.encode(wanted, found.locations)
            given = predictions.raw_boxes[image, found.locations]
            parts["loss_l1"] = parts["loss_l1"] + (given - target).abs().sum()
    parts["loss_object"] = functional.binary_cross_entropy_with_logits(
        predictions.objects, is_object, reduction="sum"
    )
    # Batches without an object still reach every layer, or ddp would wait for gradients that never come.
    parts["loss_box"] = BOX_WEIGHT * parts["loss_box"] + 0.0 * predictions.raw_boxes.sum()
    parts["loss_class"] = parts["loss_class"] + 0.0 * predictions.classes.sum()
    return {name: value / max(count, 1) for name, value in parts.items()}
