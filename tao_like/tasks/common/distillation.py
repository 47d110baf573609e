"""Losses by which a network of classes learns from a teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def distillation_loss(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """How far a network's softened predictions are from a teacher's (Hinton et al. 2015, section 2).

    The KL divergence of the teacher's probabilities from the network's, both of logits divided by the
    temperature, averaged over the batch. Times the temperature's square, so that its gradients keep their
    size beside those of the labels.

    Args:
        logits: (N, classes), of the network.
        wanted: (N, classes), of the teacher.
        temperature: above 0.
    """
    own = functional.log_softmax(logits.float() / temperature, dim=1)
    theirs = functional.log_softmax(wanted.float() / temperature, dim=1)
    return functional.kl_div(own, theirs, reduction="batchmean", log_target=True) * temperature**2


def multi_label_distillation_loss(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """The same where each class is told by itself: a divergence for each, averaged over classes and batch."""
    own, theirs = (torch.stack([one, torch.zeros_like(one)], -1).flatten(0, 1) for one in (logits, wanted))
    return distillation_loss(own, theirs, temperature)
