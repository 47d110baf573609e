"""Losses of segmentation. None gives NaN or fails where every pixel of a batch is ignored."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.data.masks.values import IGNORE
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.segmentation.spec_blocks.model import LossSpec

# isort: split
from segmentation_models_pytorch.losses import DiceLoss, LovaszLoss, TverskyLoss

TERMS = {
    "ce": ("ce",),
    "dice": ("dice",),
    "ce_dice": ("ce", "dice"),
    "focal": ("focal",),
    "lovasz": ("lovasz",),
    "ohem": ("ohem",),
    "tversky": ("tversky",),
}
"""The terms of each loss."""


class SegmentationLoss(nn.Module):
    """The terms of the loss that a spec names.

    Args:
        spec: names it.
        weights: of the classes in cross entropy and what is made of it; None: all alike.
    """

    def __init__(self, spec: LossSpec, weights: list[float] | None) -> None:
        super().__init__()
        self.spec = spec
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self._dice = DiceLoss("multiclass", ignore_index=IGNORE)
        self._tversky = TverskyLoss(
            "multiclass", ignore_index=IGNORE, alpha=spec.tversky_alpha, beta=spec.tversky_beta
        )
        self._lovasz = LovaszLoss("multiclass", ignore_index=IGNORE)

    def forward(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms by name; their sum is what training lowers.

        Args:
            logits: (N, classes, H, W).
            target: (N, H, W) class numbers, `IGNORE` where a pixel belongs to no class.
        """
        logits, target = logits.float(), target.long()
        if self.weights is not None and self.weights.device != logits.device:
            self.weights = self.weights.to(logits.device)
        if not bool((target != IGNORE).any()):
            # A loss with a gradient of zeros, so that several processes keep in step.
            return dict.fromkeys(TERMS[self.spec.type], logits.sum() * 0.0)
        return {name: getattr(self, f"_{name}_term")(logits, target) for name in TERMS[self.spec.type]}

    def _ce_term(self, logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits, target, self.weights, self.spec.label_smoothing)

    def _dice_term(self, logits: Tensor, target: Tensor) -> Tensor:
        weight = self.spec.dice_weight if self.spec.type == "ce_dice" else 1.0
        loss: Tensor = self._dice(logits, target)
        return weight * loss

    def _tversky_term(self, logits: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self._tversky(logits, target)
        return loss

    def _lovasz_term(self, logits: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self._lovasz(logits, target)
        return loss

    def _focal_term(self, logits: Tensor, target: Tensor) -> Tensor:
        return focal(logits, target, self.spec.focal_gamma, self.weights)

    def _ohem_term(self, logits: Tensor, target: Tensor) -> Tensor:
        spec = self.spec
        return hard_cross_entropy(logits, target, spec.ohem_threshold, spec.ohem_min_share, self.weights)


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None, smoothing: float = 0.0) -> Tensor:
    """Cross entropy, averaged over the pixels by the weights of their classes; 0 where these are all 0."""
    each = functional.cross_entropy(
        logits, target, weights, ignore_index=IGNORE, reduction="none", label_smoothing=smoothing
    )
    return each.sum() / _weights_of(target, weights).sum().clamp(min=1e-6)


def focal(logits: Tensor, target: Tensor, gamma: float, weights: Tensor | None) -> Tensor:
    """Focal loss on the softmax (Lin et al. 2017, eq. 4): cross entropy times (1 - p)^gamma, averaged."""
    each = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
    counted = _weights_of(target, weights)
    # Of p = 1 the power of less than 1 has no gradient.
    factor = (1 - torch.exp(-each)).clamp(min=1e-6) ** gamma
    return (factor * each * counted).sum() / counted.sum().clamp(min=1e-6)


def hard_cross_entropy(
    logits: Tensor, target: Tensor, threshold: float, min_fraction: float, weights: Tensor | None
) -> Tensor:
    """Cross entropy of the pixels whose class has less probability than ``threshold`` (OHEM).

    Args:
        logits: (N, classes, H, W).
        target: (N, H, W).
        threshold: 0 to 1.
        min_fraction: of the pixels with a class that counts at least: those of least probability.
        weights: of the classes.
    """
    is_valid = target != IGNORE
    each = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")[is_valid]
    counted = _weights_of(target, weights)[is_valid]
    fewest = max(1, int(min_fraction * len(each)))
    limit = torch.minimum(
        each.detach().topk(fewest).values[-1], -torch.log(torch.tensor(threshold, device=each.device))
    )
    counted = counted * (each.detach() >= limit)
    return (each * counted).sum() / counted.sum().clamp(min=1e-6)


def _weights_of(target: Tensor, weights: Tensor | None) -> Tensor:
    """The weight of each pixel's class; 0 where it has none."""
    is_valid = target != IGNORE
    if weights is None:
        return is_valid.float()
    return weights[target * is_valid] * is_valid
