"""What a training of pose classification lowers, and what its validation reports."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Distils
from tao_like.contract.metrics import Goal
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.tasks.common.classes.class_predictions import PROBABILITIES
from tao_like.tasks.pose_classification.data.data import PoseData
from tao_like.tasks.pose_classification.losses import stream_distillation_losses, stream_losses
from tao_like.tasks.pose_classification.metrics import PoseMetrics
from tao_like.tasks.pose_classification.model.classifier import SkeletonClassifier
from tao_like.tasks.pose_classification.predictions import PosePredictions
from tao_like.tasks.pose_classification.spec import Spec


class PosePhase(Phase[SkeletonClassifier], Distils[SkeletonClassifier]):
    """The training of all streams, by labels or by a teacher too."""

    goal = Goal("accuracy")
    data: PoseData

    def __init__(self, data: PoseData, predictions: PosePredictions, spec: Spec) -> None:
        super().__init__(data, predictions, spec.train)
        self._thresholds = predictions.thresholds
        self._smoothing = spec.train.label_smoothing
        self._streams = spec.model.streams

    @override
    def losses(self, model: SkeletonClassifier, batch: Batch[Tensor]) -> dict[str, Tensor]:
        return stream_losses(model(batch.input), batch.targets, self._smoothing, self._streams)

    @override
    def distillation_losses(
        self,
        model: SkeletonClassifier,
        teacher: SkeletonClassifier,
        batch: Batch[Any],
        *,
        loss_lambda: float,
        temperature: float,
    ) -> dict[str, Tensor]:
        logits = model(batch.input)
        with torch.no_grad():
            wanted = teacher.probabilities(teacher(batch.input)).clamp(min=1e-8).log()
        own = stream_losses(logits, batch.targets, self._smoothing, self._streams)
        return {name: (1 - loss_lambda) * loss for name, loss in own.items()} | {
            "distillation_loss": loss_lambda * stream_distillation_losses(logits, wanted, temperature)
        }

    @override
    def validate(self, model: SkeletonClassifier, batch: Batch[Tensor]) -> tuple[dict[str, Tensor], Outputs]:
        logits = model(batch.input)
        losses = stream_losses(logits, batch.targets, 0.0, self._streams)
        return losses, {PROBABILITIES: model.probabilities(logits).cpu().numpy()}

    @override
    def metrics(self) -> PoseMetrics:
        return PoseMetrics(self.data.labels.names, self._thresholds)
