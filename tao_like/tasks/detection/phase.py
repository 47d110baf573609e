"""What a training of detection lowers, and what its validation reports."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import Distils
from tao_like.contract.metrics import Goal
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.errors import SpecError
from tao_like.networks.freezing import freeze, freeze_norms
from tao_like.runtime.predictions.boxes import MEANINGS
from tao_like.tasks.detection.data.data import DetectionData
from tao_like.tasks.detection.data.dataset import DetectionTargets
from tao_like.tasks.detection.data.scales import resized_batch
from tao_like.tasks.detection.losses.distillation import teacher_losses
from tao_like.tasks.detection.metrics.detection import DetectionMetrics
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.for_export import suppressed
from tao_like.tasks.detection.predictions import BoxPredictions
from tao_like.tasks.detection.spec import Spec

DetectionBatch = Batch[DetectionTargets]


class DetectionPhase(Phase[Detector], Distils[Detector]):
    """The training of a detector, by its boxes or by a teacher too."""

    goal = Goal("mAP")
    data: DetectionData
    predictions: BoxPredictions

    def __init__(self, data: DetectionData, predictions: BoxPredictions, spec: Spec) -> None:
        super().__init__(data, predictions, spec.train)
        self._arch = spec.model.arch
        self._backbone_spec = spec.model.backbone
        self._evaluate_spec = spec.evaluate
        self._size_steps = spec.dataset.augmentation.multi_scale_range

    @override
    def losses(self, model: Detector, batch: DetectionBatch) -> dict[str, Tensor]:
        batch = resized_batch(batch, self._size_steps)
        targets = batch.targets
        return model.losses(model(batch.input), targets.boxes, targets.labels, refine=targets.plain)

    @override
    def distillation_losses(
        self,
        model: Detector,
        teacher: Detector,
        batch: DetectionBatch,
        *,
        loss_lambda: float,
        temperature: float,
    ) -> dict[str, Tensor]:
        batch = resized_batch(batch, self._size_steps)
        if not (model.predicts_by_location and teacher.predicts_by_location):
            raise SpecError(
                f"train.distill.teacher_model_path: {self._arch} predicts at other locations "
                "on every image, so it cannot learn from a teacher; leave it empty"
            )
        values, targets = model(batch.input), batch.targets
        losses = model.losses(values, targets.boxes, targets.labels, refine=targets.plain)
        with torch.no_grad():
            wanted = teacher.decode(teacher(batch.input))
        taught = teacher_losses(model.decode(values), wanted, temperature)
        own = {name: (1 - loss_lambda) * value for name, value in losses.items()}
        return own | {name: loss_lambda * value for name, value in taught.items()}

    @override
    def validate(self, model: Detector, batch: DetectionBatch) -> tuple[dict[str, Tensor], Outputs]:
        values, targets = model(batch.input), batch.targets
        outputs = suppressed(*model.decode(values), self.predictions.selection)
        named = {name: value.cpu().numpy() for name, value in zip(MEANINGS.final, outputs, strict=True)}
        return model.losses(values, targets.boxes, targets.labels, refine=False), named

    @override
    def metrics(self) -> DetectionMetrics:
        return DetectionMetrics(
            self.data.labels.names,
            self.data.preprocessing,
            self.predictions.thresholds,
            voc_mode=self._evaluate_spec.average_precision_mode,
            voc_iou=self._evaluate_spec.matching_iou_threshold,
        )

    @override
    def backbone(self, model: Detector) -> list[nn.Module]:
        return list(model.backbone.modules())

    @override
    def freeze(self, model: Detector) -> None:
        if self._backbone_spec.freeze_norm:
            freeze_norms(model.backbone)
        if self._backbone_spec.freeze_backbone:
            freeze(model.backbone)
