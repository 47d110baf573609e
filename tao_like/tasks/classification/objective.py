"""What a training of classification lowers: from a batch to its losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tao_like.contract.task import Batch, Outputs
from tao_like.tasks.classification.losses import (
    balanced_weights,
    classification_loss,
    mixup_or_cutmix,
    multi_label_loss,
    targets_to_probabilities,
)
from tao_like.tasks.classification.spec import LossSpec, Spec
from tao_like.tasks.common.distillation import distillation_loss, multi_label_distillation_loss


@dataclass(frozen=True)
class Objective:
    """The loss of a batch.

    Attributes:
        classes: outputs of the network.
        multi_label: each class is told by itself.
        loss: the spec's loss block.
        mixup_alpha: of mixup and cutmix; 0: pictures are not blended.
        class_weights: (classes,) or None.
    """

    classes: int
    multi_label: bool
    loss: LossSpec
    mixup_alpha: float
    class_weights: Tensor | None

    @classmethod
    def of(cls, spec: Spec, classes: int, train_targets: Callable[[], Sequence[Any]]) -> Objective:
        """The objective that a spec asks for.

        Args:
            spec: of the training.
            classes: outputs of the network.
            train_targets: gives the targets of all training data, asked only where classes are weighted.
        """
        augmentation, loss = spec.dataset.augmentation, spec.model.head.loss
        multi_label = spec.dataset.multi_label
        weights = None
        if loss.class_weights == "balanced":
            targets = np.stack(train_targets())
            counts = targets.sum(axis=0) if multi_label else np.bincount(targets, minlength=classes)
            weights = balanced_weights(torch.from_numpy(np.asarray(counts)), multi_label, len(targets))
        mixup_alpha = augmentation.mixup_alpha if augmentation.mixup_cutmix else 0.0
        return cls(classes, multi_label, loss, mixup_alpha, weights)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The loss of a training batch."""
        pixels, targets = self._blended(batch)
        return {"loss": self._loss(network(pixels), targets)}

    def distillation_losses(
        self, network: nn.Module, teacher: nn.Module, batch: Batch, loss_lambda: float, temperature: float
    ) -> dict[str, Tensor]:
        """The losses by the labels and by a teacher, weighted; teacher and network see the same pixels."""
        pixels, targets = self._blended(batch)
        logits = network(pixels)
        with torch.no_grad():
            wanted = teacher(pixels)
        distance = multi_label_distillation_loss if self.multi_label else distillation_loss
        return {
            "loss": (1 - loss_lambda) * self._loss(logits, targets),
            "distillation_loss": loss_lambda * distance(logits, wanted, temperature),
        }

    def validate(self, network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
        """The loss of a batch without smoothing or blending, and its probabilities."""
        logits = network(batch.inputs).float()
        targets = batch.targets
        if not self.multi_label:
            targets = targets_to_probabilities(targets, self.classes, 0.0)
        probabilities = logits.sigmoid() if self.multi_label else logits.softmax(dim=1)
        return {"loss": self._loss(logits, targets)}, {"probabilities": probabilities.cpu().numpy()}

    def _blended(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pixels, targets = batch.inputs, batch.targets
        if not self.multi_label:
            targets = targets_to_probabilities(targets, self.classes, self.loss.label_smooth_val)
        if self.mixup_alpha:
            pixels, targets = mixup_or_cutmix(pixels, targets, self.mixup_alpha)
        return pixels, targets

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        loss = multi_label_loss if self.multi_label else classification_loss
        return loss(logits, targets, weights)
