"""What a training of instance segmentation lowers, and what its validation reports."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Goal
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.networks.freezing import freeze, freeze_norms
from tao_like.tasks.detection.data.scales import resized_batch
from tao_like.tasks.instance_segmentation.data.data import InstanceData
from tao_like.tasks.instance_segmentation.data.dataset import InstanceTargets
from tao_like.tasks.instance_segmentation.metrics.instances import InstanceMetrics
from tao_like.tasks.instance_segmentation.model.network import InstanceNetwork
from tao_like.tasks.instance_segmentation.predictions import InstancePredictions
from tao_like.tasks.instance_segmentation.spec import Spec

InstanceBatch = Batch[InstanceTargets]


class InstancePhase(Phase[InstanceNetwork]):
    """The training of boxes, classes and masks."""

    goal = Goal("mask_mAP")
    data: InstanceData
    predictions: InstancePredictions

    def __init__(self, data: InstanceData, predictions: InstancePredictions, spec: Spec) -> None:
        super().__init__(data, predictions, spec.train)
        if spec.model.makes_segments:
            self.goal = Goal("PQ")  # type: ignore[misc]
        self._backbone_spec = spec.model.backbone
        self._size_steps = spec.dataset.augmentation.multi_scale_range

    @override
    def losses(self, model: InstanceNetwork, batch: InstanceBatch) -> dict[str, Tensor]:
        batch = self._resized(batch)
        targets = batch.targets
        return model.instance_losses(model(batch.input), targets.boxes, targets.labels, targets.masks)

    def _resized(self, batch: InstanceBatch) -> InstanceBatch:
        """The batch at another size, if that is wanted; masks follow."""
        resized = resized_batch(batch, self._size_steps)
        size = resized.input.shape[-2:]
        if size == batch.input.shape[-2:]:
            return batch
        masks = [
            functional.interpolate(each[None], size=size, mode="nearest")[0] if len(each) else each
            for each in batch.targets.masks
        ]
        return Batch(
            resized.inputs, replace(batch.targets, boxes=resized.targets.boxes, masks=masks), batch.indices
        )

    @override
    def validate(self, model: InstanceNetwork, batch: InstanceBatch) -> tuple[dict[str, Tensor], Outputs]:
        values, targets = model(batch.input), batch.targets
        outputs = model.instances(values, self.predictions.selection)
        named = {
            name: value.cpu().numpy() for name, value in zip(self.predictions.names, outputs, strict=True)
        }
        return model.instance_losses(values, targets.boxes, targets.labels, targets.masks), named

    @override
    def metrics(self) -> InstanceMetrics:
        predictions = self.predictions
        return InstanceMetrics(
            self.data.labels.names,
            self.data.preprocessing,
            predictions.thresholds,
            predictions.mask_threshold,
            predictions.rule,
        )

    @override
    def backbone(self, model: InstanceNetwork) -> list[nn.Module]:
        return list(model.backbone.modules())

    @override
    def freeze(self, model: InstanceNetwork) -> None:
        if self._backbone_spec.freeze_norm:
            freeze_norms(model.backbone)
        if self._backbone_spec.freeze_backbone:
            freeze(model.backbone)
