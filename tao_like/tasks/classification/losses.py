"""Losses of classification."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def targets_to_probabilities(targets: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Class numbers (N,) as smoothed one-hot rows (N, classes) (Szegedy et al. 2016, section 7)."""
    one_hot = functional.one_hot(targets, num_classes).float()
    return one_hot * (1.0 - smoothing) + smoothing / num_classes


def classification_loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Cross-entropy against probabilities, averaged as torch does for weighted class numbers.

    Args:
        logits: (N, classes).
        targets: (N, classes), rows that sum to 1.
        weights: (classes,) or None. With weights the mean is over the targets' weight, so that a batch
            of heavy classes does not count for more.
    """
    log_probabilities = functional.log_softmax(logits.float(), dim=1)
    if weights is None:
        return -(targets * log_probabilities).sum(dim=1).mean()
    weighted = targets * weights
    return -(weighted * log_probabilities).sum() / weighted.sum()


def multi_label_loss(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Binary cross-entropy of each class, targets (N, classes) from 0 to 1; weights favour the ones."""
    return functional.binary_cross_entropy_with_logits(logits.float(), targets, pos_weight=weights)


def balanced_weights(counts: Tensor, multi_label: bool, total: int) -> Tensor:
    """Weights by rarity: for single labels N / (classes * count); for several (N - count) / count."""
    counts = counts.clamp(min=1).float()
    if multi_label:
        return ((total - counts) / counts).clamp(min=1.0, max=100.0)
    return total / (len(counts) * counts)
