"""The losses of every stream: each learns by itself, as if it were trained alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tao_like.tasks.common.distillation import distillation_loss


def stream_losses(
    logits: Sequence[Tensor], targets: Tensor, smoothing: float, names: Sequence[str]
) -> dict[str, Tensor]:
    """Cross-entropy of each stream.

    Args:
        logits: (N, classes) of each stream.
        targets: (N,) class numbers.
        smoothing: of the labels, 0 to 1.
        names: of the streams; a single one is called ``loss``.
    """
    losses = [functional.cross_entropy(one.float(), targets, label_smoothing=smoothing) for one in logits]
    if len(losses) == 1:
        return {"loss": losses[0]}
    return {f"loss_{name}": loss for name, loss in zip(names, losses, strict=True)}


def stream_distillation_losses(logits: Sequence[Tensor], wanted: Tensor, temperature: float) -> Tensor:
    """The sum over the streams of the distance to a teacher's predictions.

    Args:
        logits: (N, classes) of each stream.
        wanted: (N, classes), the logarithms of the teacher's probabilities.
        temperature: above 0.
    """
    return torch.stack([distillation_loss(one, wanted, temperature) for one in logits]).sum()
