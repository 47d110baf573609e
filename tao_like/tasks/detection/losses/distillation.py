"""What a detector learns from another of its kind: the other's predictions, location by location."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.ops import generalized_box_iou_loss

CONFIDENT = 0.1
"""Score from which on a teacher's box is worth learning; most locations say nothing."""
BOX_WEIGHT = 2.0
"""Weight of the boxes beside the scores, as in DETR (Carion et al. 2020)."""
TINY = 1e-6


def teacher_losses(
    own: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], temperature: float
) -> dict[str, Tensor]:
    """How far a network's predictions are from a teacher's at the same locations.

    Scores are soft targets everywhere (Hinton et al. 2015): the divergence of two Bernoulli distributions,
    both of logits divided by the temperature, times its square. Boxes count by the teacher's score, as
    Mehta and Ozturk do (2018, "Object detection at 200 Frames Per Second", section 3): where the teacher
    sees nothing, its boxes mean nothing. Their distance is 1 - GIoU (Rezatofighi et al. 2019). Both sums
    are divided by the sum of the teacher's best scores, about the number of locations with an object.

    Args:
        own: boxes (N, A, 4) in pixels and scores (N, A, classes), 0 to 1.
        wanted: the teacher's, likewise.
        temperature: above 0.

    Raises:
        SpecError: the teacher predicts at other locations.
    """
    if own[0].shape != wanted[0].shape:
        raise SpecError(
            f"train.distill.teacher_model_path: the teacher predicts at {wanted[0].shape[1]} locations and "
            f"this network at {own[0].shape[1]}; take a teacher of the same model.arch"
        )
    sureness = wanted[1].amax(dim=2)
    fraction = 1 / sureness.sum().clamp(min=1)
    logits, theirs = (torch.logit(scores, eps=TINY) / temperature for scores in (own[1], wanted[1]))
    target = theirs.sigmoid()
    cross_entropy, entropy = (
        functional.binary_cross_entropy_with_logits(given, target, reduction="sum")
        for given in (logits, theirs)
    )
    divergence = cross_entropy - entropy
    is_sure = sureness >= CONFIDENT
    distance = generalized_box_iou_loss(own[0][is_sure], wanted[0][is_sure], eps=TINY)
    return {
        "distillation_scores": fraction * temperature**2 * divergence,
        "distillation_boxes": fraction * BOX_WEIGHT * (sureness[is_sure] * distance).sum(),
    }
