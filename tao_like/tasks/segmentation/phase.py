"""What a training of segmentation lowers, and what its validation reports."""

from __future__ import annotations

from functools import cached_property

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
from tao_like.tasks.common.distillation import distillation_loss
from tao_like.tasks.segmentation.data.data import SegmentationData
from tao_like.tasks.segmentation.data.source import palette_weights
from tao_like.tasks.segmentation.data.targets import SegmentationTargets
from tao_like.tasks.segmentation.losses.losses import SegmentationLoss
from tao_like.tasks.segmentation.losses.weights import class_weights
from tao_like.tasks.segmentation.metrics.pixels import PixelMetrics
from tao_like.tasks.segmentation.model.segmenter import Segmenter, shipped
from tao_like.tasks.segmentation.predictions import MaskPredictions
from tao_like.tasks.segmentation.spec import Spec

SegmentationBatch = Batch[SegmentationTargets]


class SegmentationPhase(Phase[Segmenter], Distils[Segmenter]):
    """The training of a segmentation network, by masks or by a teacher too."""

    goal = Goal("mIoU")
    data: SegmentationData
    predictions: MaskPredictions

    def __init__(self, data: SegmentationData, predictions: MaskPredictions, spec: Spec) -> None:
        super().__init__(data, predictions, spec.train)
        self._spec = spec

    @cached_property
    def loss(self) -> SegmentationLoss:
        """The loss, with the weights of the classes, for which masks may have to be counted."""
        return SegmentationLoss(self._spec.model.loss, self._weights())

    def _weights(self) -> list[float] | None:
        loss, classes = self._spec.model.loss, self.data.labels.names
        if loss.weights:
            if len(loss.weights) != len(classes):
                raise SpecError(
                    f"model.loss.weights has {len(loss.weights)} numbers, and there are {len(classes)} "
                    f"classes ({', '.join(classes[:10])}); give one for each"
                )
            return loss.weights
        if loss.class_weights != "none" and self.data.has("train"):
            return class_weights(loss.class_weights, *self.data.class_pixels)
        return palette_weights(self._spec.dataset, classes)

    @override
    def losses(self, model: Segmenter, batch: SegmentationBatch) -> dict[str, Tensor]:
        return self.loss(model(batch.input), batch.targets.masks)

    @override
    def distillation_losses(
        self,
        model: Segmenter,
        teacher: Segmenter,
        batch: SegmentationBatch,
        *,
        loss_lambda: float,
        temperature: float,
    ) -> dict[str, Tensor]:
        logits = model(batch.input)
        with torch.no_grad():
            wanted = teacher(batch.input)
        own = {
            name: (1 - loss_lambda) * value for name, value in self.loss(logits, batch.targets.masks).items()
        }
        # A pixel counts as a sample, also where its class is not known: the teacher has an opinion of it.
        flat, theirs = (one.permute(0, 2, 3, 1).flatten(0, 2) for one in (logits, wanted))
        return own | {"distillation": loss_lambda * distillation_loss(flat, theirs, temperature)}

    @override
    def validate(self, model: Segmenter, batch: SegmentationBatch) -> tuple[dict[str, Tensor], Outputs]:
        logits = model(batch.input)
        name = self.predictions.output
        outputs = shipped(logits, probabilities=name == "probabilities")
        return self.loss(logits, batch.targets.masks), {name: outputs.cpu().numpy()}

    @override
    def metrics(self) -> PixelMetrics:
        return PixelMetrics(self.data.labels.names, boundary=self._spec.evaluate.boundary_iou)

    @override
    def reported(self) -> dict[str, bool]:
        return PixelMetrics([], boundary=self._spec.evaluate.boundary_iou).reported()

    @override
    def backbone(self, model: Segmenter) -> list[nn.Module]:
        return list(model.backbone.modules())

    @override
    def freeze(self, model: Segmenter) -> None:
        settings = self._spec.model.backbone
        if settings.freeze_norm:
            freeze_norms(model.backbone)
        if settings.freeze_backbone:
            freeze(model.backbone)
