"""What a training of pointpillars lowers, and what its validation reports."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Goal
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.runtime.predictions.boxes3d import MEANINGS
from tao_like.tasks.pointpillars.data.dataset import FrameTargets
from tao_like.tasks.pointpillars.data.frame_data import FrameData
from tao_like.tasks.pointpillars.losses import detection_losses
from tao_like.tasks.pointpillars.metrics.detection3d import PointPillarsMetrics
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.model.for_export import selected
from tao_like.tasks.pointpillars.predictions import FramePredictions
from tao_like.tasks.pointpillars.spec import Spec


class PointPillarsPhase(Phase[PointPillars]):
    """The training of a LiDAR detector."""

    goal = Goal("mAP_3d")

    def __init__(self, data: FrameData, predictions: FramePredictions, spec: Spec) -> None:
        super().__init__(data, predictions, spec.train)
        self._thresholds = predictions.thresholds
        self._selection = predictions.selection
        self._head = spec.model.dense_head
        self._rules = spec.model.post_processing.eval_metric

    @override
    def losses(self, model: PointPillars, batch: Batch[FrameTargets]) -> dict[str, Tensor]:
        return self._losses(model, model(batch.input, len(batch)), batch)

    @override
    def validate(self, model: PointPillars, batch: Batch[FrameTargets]) -> tuple[dict[str, Tensor], Outputs]:
        values = model(batch.input, len(batch))
        each = [selected(*pair, self._selection) for pair in zip(*model.decode(values), strict=True)]
        outputs = [torch.stack(parts).cpu().numpy() for parts in zip(*each, strict=True)]
        return self._losses(model, values, batch), dict(zip(MEANINGS.final, outputs, strict=True))

    @override
    def metrics(self) -> PointPillarsMetrics:
        return PointPillarsMetrics(self.data.labels.names, self._thresholds, self._rules)

    def _losses(
        self, model: PointPillars, values: Sequence[Tensor], batch: Batch[FrameTargets]
    ) -> dict[str, Tensor]:
        return detection_losses(model, values, batch.targets, self._head)
