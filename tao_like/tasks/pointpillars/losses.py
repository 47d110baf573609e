"""The loss of PointPillars: classes, boxes, directions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.tasks.pointpillars.model.anchors import encode, half_turns
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.spec_blocks.model import DenseHeadSpec
from tao_like.tasks.pointpillars.targets import IGNORED, assign

ALPHA, GAMMA = 0.25, 2.0
BETA = 1 / 9
"""Where the loss of a value of the box turns from a square into a line."""


def focal(logits: Tensor, truths: Tensor) -> Tensor:
    """The focal loss (Lin et al. 2017) of each logit, in the shape of ``logits``; truths are 0 or 1."""
    chance = torch.sigmoid(logits)
    miss = torch.where(truths > 0, 1 - chance, chance)
    weight = torch.where(truths > 0, ALPHA, 1 - ALPHA)
    plain = functional.binary_cross_entropy_with_logits(logits, truths, reduction="none")
    return weight * miss**GAMMA * plain


def with_sine(predicted: Tensor, truths: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (M, 7) whose last values differ by the sine of the angles' difference.

    SECOND, section 3.2: boxes half a turn apart are the same box, and the direction is told by a class.
    """
    one = torch.sin(predicted[:, 6:]) * torch.cos(truths[:, 6:])
    other = torch.cos(predicted[:, 6:]) * torch.sin(truths[:, 6:])
    return torch.cat([predicted[:, :6], one], dim=1), torch.cat([truths[:, :6], other], dim=1)


def detection_losses(
    network: PointPillars,
    values: Sequence[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    spec: DenseHeadSpec,
) -> dict[str, Tensor]:
    """The parts of the loss of a batch, each a mean over its frames; a frame's is divided by its matches.

    Args:
        network: gives the anchors.
        values: what it gave for the batch.
        boxes: (G, 7) of each frame.
        labels: (G,) class numbers of each frame.
        spec: weights, and how anchors are matched.
    """
    weights = spec.loss_config.loss_weights
    anchors = network.anchors.reshape(-1, 7)
    sums: dict[str, Tensor] = {}
    for frame in range(len(boxes)):
        of_frame = _frame_losses(
            network, anchors, [part[frame] for part in values], boxes[frame], labels[frame], spec
        )
        sums = {name: sums[name] + value if sums else value for name, value in of_frame.items()}
    scale = {"cls": weights.cls_weight, "loc": weights.loc_weight, "dir": weights.dir_weight}
    return {f"loss_{name}": value * scale[name] / len(boxes) for name, value in sums.items()}


def _frame_losses(
    network: PointPillars,
    anchors: Tensor,
    values: Sequence[Tensor],
    boxes: Tensor,
    labels: Tensor,
    spec: DenseHeadSpec,
) -> dict[str, Tensor]:
    match_height = spec.target_assigner_config.match_height
    targets = assign(network.anchors, network.class_anchors, boxes, labels, match_height=match_height)
    logits, codes = values[0].float(), values[1].float()
    positive = torch.nonzero(targets.labels > 0)[:, 0]
    count = max(1, len(positive))
    truths = torch.zeros_like(logits)
    truths[positive, targets.labels[positive] - 1] = 1.0
    counts = (targets.labels != IGNORED)[:, None]
    losses = {"cls": (focal(logits, truths) * counts).sum() / count}
    mine = boxes[targets.matched[positive]] if len(boxes) else boxes.new_zeros(0, 7)
    wanted = encode(mine, anchors[positive])
    of_codes = codes.new_tensor(spec.loss_config.loss_weights.code_weights)
    one, other = with_sine(codes[positive], wanted)
    losses["loc"] = (
        functional.smooth_l1_loss(one * of_codes, other * of_codes, beta=BETA, reduction="sum") / count
    )
    if len(values) > 2:
        halves = half_turns(mine[:, 6], network.direction_offset)
        plain = functional.cross_entropy(values[2].float()[positive], halves, reduction="sum")
        losses["dir"] = plain / count
    return losses
