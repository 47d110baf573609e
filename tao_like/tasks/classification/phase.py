"""What a training of classification lowers, and what its validation reports."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Distils
from tao_like.contract.metrics import Goal, Metrics
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.networks.freezing import freeze_norms
from tao_like.tasks.classification.data.data import ClassificationData
from tao_like.tasks.classification.losses import (
    balanced_weights,
    classification_loss,
    multi_label_loss,
    targets_to_probabilities,
)
from tao_like.tasks.classification.model import ClassificationNetwork
from tao_like.tasks.classification.predictions import ClassificationPredictions
from tao_like.tasks.classification.spec import Spec
from tao_like.tasks.common.augmentation.mixing import MixUpOrCutMix
from tao_like.tasks.common.classes.class_metrics import ClassMetrics
from tao_like.tasks.common.classes.class_predictions import PROBABILITIES
from tao_like.tasks.common.classes.multi_label_metrics import MultiLabelMetrics
from tao_like.tasks.common.distillation import distillation_loss, multi_label_distillation_loss


class ClassificationPhase(Phase[ClassificationNetwork], Distils[ClassificationNetwork]):
    """The training of a classifier, by its labels or by a teacher too."""

    goal = Goal("accuracy")
    data: ClassificationData

    def __init__(self, data: ClassificationData, predictions: ClassificationPredictions, spec: Spec) -> None:
        super().__init__(data, predictions, spec.train)
        self.multi_label = data.multi_label
        self._thresholds = predictions.thresholds
        self._topk = spec.model.head.topk
        self._loss_spec = spec.model.head.loss
        self._backbone_spec = spec.model.backbone
        augmentation = spec.dataset.augmentation
        alpha = augmentation.mixup_alpha if augmentation.mixup_cutmix else 0.0
        self._blend = MixUpOrCutMix(alpha) if alpha else None

    @override
    def losses(self, model: ClassificationNetwork, batch: Batch[Tensor]) -> dict[str, Tensor]:
        pixels, targets = self._blended(batch)
        return {"loss": self._loss(model(pixels), targets)}

    @override
    def distillation_losses(
        self,
        model: ClassificationNetwork,
        teacher: ClassificationNetwork,
        batch: Batch[Any],
        *,
        loss_lambda: float,
        temperature: float,
    ) -> dict[str, Tensor]:
        pixels, targets = self._blended(batch)
        logits = model(pixels)
        with torch.no_grad():
            wanted = teacher(pixels)
        distance = multi_label_distillation_loss if self.multi_label else distillation_loss
        return {
            "loss": (1 - loss_lambda) * self._loss(logits, targets),
            "distillation_loss": loss_lambda * distance(logits, wanted, temperature),
        }

    @override
    def validate(
        self, model: ClassificationNetwork, batch: Batch[Tensor]
    ) -> tuple[dict[str, Tensor], Outputs]:
        logits = model(batch.input).float()
        targets = batch.targets
        if not self.multi_label:
            targets = targets_to_probabilities(targets, len(self.data.labels), 0.0)
        probabilities = logits.sigmoid() if self.multi_label else logits.softmax(dim=1)
        return {"loss": self._loss(logits, targets)}, {PROBABILITIES: probabilities.cpu().numpy()}

    @override
    def metrics(self) -> Metrics:
        classes = self.data.labels.names
        if self.multi_label:
            return MultiLabelMetrics(classes, self._thresholds)
        return ClassMetrics(classes, self._topk, self._thresholds)

    @override
    def backbone(self, model: ClassificationNetwork) -> list[nn.Module]:
        head = {module for part in model.head for module in part.modules()}
        return [module for module in model.backbone.modules() if module not in head]

    @override
    def freeze(self, model: ClassificationNetwork) -> None:
        if self._backbone_spec.freeze_norm:
            freeze_norms(model.backbone)
        if self._backbone_spec.freeze_backbone:
            model.freeze_below_head()

    @cached_property
    def _class_weights(self) -> Tensor | None:
        """(classes,); None where all weigh the same."""
        if self._loss_spec.class_weights != "balanced":
            return None
        targets = np.stack(self.data.dataset("train").targets)
        count = len(self.data.labels)
        counts = targets.sum(axis=0) if self.multi_label else np.bincount(targets, minlength=count)
        return balanced_weights(torch.from_numpy(np.asarray(counts)), self.multi_label, len(targets))

    def _blended(self, batch: Batch[Tensor]) -> tuple[Tensor, Tensor]:
        pixels, targets = batch.input, batch.targets
        if not self.multi_label:
            smoothing = self._loss_spec.label_smooth_val
            targets = targets_to_probabilities(targets, len(self.data.labels), smoothing)
        if self._blend is not None:
            pixels, targets = self._blend(pixels, targets)
        return pixels, targets

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        weights = None if self._class_weights is None else self._class_weights.to(logits.device)
        loss = multi_label_loss if self.multi_label else classification_loss
        return loss(logits, targets, weights)
