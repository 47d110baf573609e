"""The loss of PointPillars: classes, boxes, directions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.tasks.pointpillars.assignment import IGNORED, assign
from tao_like.tasks.pointpillars.data.dataset import FrameTargets
from tao_like.tasks.pointpillars.model.anchors import encode, half_turns
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.spec_blocks.model import DenseHeadSpec

ALPHA, GAMMA = 0.25, 2.0
BETA = 1 / 9
"""Where the loss of a value of the box turns from a square into a line."""


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """The focal loss (Lin et al. 2017) of each logit, in the shape of ``logits``; targets are 0 or 1."""
    chance = torch.sigmoid(logits)
    miss = torch.where(targets > 0, 1 - chance, chance)
    weight = torch.where(targets > 0, ALPHA, 1 - ALPHA)
    plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return weight * miss**GAMMA * plain


def with_sine(predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (M, 7) whose last values differ by the sine of the angles' difference.

    SECOND, section 3.2: boxes half a turn apart are the same box, and the direction is told by a class.
    """
    one = torch.sin(predicted[:, 6:]) * torch.cos(targets[:, 6:])
    other = torch.cos(predicted[:, 6:]) * torch.sin(targets[:, 6:])
    return torch.cat([predicted[:, :6], one], dim=1), torch.cat([targets[:, :6], other], dim=1)


def detection_losses(
    network: PointPillars,
    values: Sequence[Tensor],
    targets: FrameTargets,
    spec: DenseHeadSpec,
) -> dict[str, Tensor]:
    """The parts of the loss of a batch, each a mean over its frames; a frame's is divided by its matches.

    Args:
        network: gives the anchors.
        values: what it gave for the batch.
        targets: boxes and labels of each frame.
        spec: weights, and how anchors are matched.
    """
    weights = spec.loss_config.loss_weights
    anchors = network.anchors.reshape(-1, 7)
    sums: dict[str, Tensor] = {}
    for frame, (boxes, labels) in enumerate(zip(targets.boxes, targets.labels, strict=True)):
        parts = [part[frame] for part in values]
        of_frame = _frame_losses(network, anchors, parts, boxes, labels, spec)
        sums = {name: sums[name] + value if sums else value for name, value in of_frame.items()}
    scale = {"cls": weights.cls_weight, "loc": weights.loc_weight, "dir": weights.dir_weight}
    return {f"loss_{name}": value * scale[name] / len(targets.boxes) for name, value in sums.items()}


def _frame_losses(
    network: PointPillars,
    anchors: Tensor,
    values: Sequence[Tensor],
    boxes: Tensor,
    labels: Tensor,
    spec: DenseHeadSpec,
) -> dict[str, Tensor]:
    match_height = spec.target_assigner_config.match_height
    assigned = assign(network.anchors, network.class_anchors, boxes, labels, match_height=match_height)
    logits, codes = values[0].float(), values[1].float()
    positive = torch.nonzero(assigned.labels > 0)[:, 0]
    count = max(1, len(positive))
    wanted_scores = torch.zeros_like(logits)
    wanted_scores[positive, assigned.labels[positive] - 1] = 1.0
    counts = (assigned.labels != IGNORED)[:, None]
    losses = {"cls": (focal(logits, wanted_scores) * counts).sum() / count}
    mine = boxes[assigned.matched[positive]] if len(boxes) else boxes.new_zeros(0, 7)
    wanted_codes = encode(mine, anchors[positive])
    of_codes = codes.new_tensor(spec.loss_config.loss_weights.code_weights)
    one, other = with_sine(codes[positive], wanted_codes)
    losses["loc"] = (
        functional.smooth_l1_loss(one * of_codes, other * of_codes, beta=BETA, reduction="sum") / count
    )
    if len(values) > 2:
        halves = half_turns(mine[:, 6], network.direction_offset)
        plain = functional.cross_entropy(values[2].float()[positive], halves, reduction="sum")
        losses["dir"] = plain / count
    return losses
