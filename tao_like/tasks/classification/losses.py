"""Losses of classification, and the blending of pictures that changes their targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def targets_to_probabilities(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    """Class numbers (N,) as smoothed one-hot rows (N, classes) (Szegedy et al. 2016, section 7)."""
    one_hot = functional.one_hot(targets, classes).float()
    return one_hot * (1.0 - smoothing) + smoothing / classes


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


def mixup_or_cutmix(pixels: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Blends each picture with another of its batch, by mixup or cutmix with equal chance.

    mixup (Zhang et al. 2018) takes a weighted mean; cutmix (Yun et al. 2019) pastes a rectangle. Draws
    from torch's global generator.

    Args:
        pixels: (N, 3, H, W), 0 to 255, any dtype.
        targets: (N, classes), probabilities.
        alpha: both parameters of the beta distribution of the weight.

    Returns:
        Pixels as float, and the targets blended likewise.
    """
    order = torch.randperm(len(pixels), device=pixels.device)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    pixels = pixels.float()
    if torch.rand(()) < 0.5:
        mixed = share * pixels + (1 - share) * pixels[order]
    else:
        height, width = pixels.shape[-2:]
        side = (1 - share) ** 0.5
        centre_y, centre_x = (torch.rand(2) * torch.tensor([height, width])).tolist()
        top, bottom = (round(min(max(centre_y + s * side * height / 2, 0), height)) for s in (-1, 1))
        left, right = (round(min(max(centre_x + s * side * width / 2, 0), width)) for s in (-1, 1))
        mixed = pixels.clone()
        mixed[..., top:bottom, left:right] = pixels[order][..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, share * targets + (1 - share) * targets[order]
