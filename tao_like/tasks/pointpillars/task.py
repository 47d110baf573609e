"""Detection in LiDAR frames as the stages see it."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from tao_like.contract.capabilities import Describes, Prunes
from tao_like.contract.model import ONLY_PART, Exportable, Prunable
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.runtime.predictions.boxes3d import MEANINGS
from tao_like.tasks.pointpillars.data.frame_data import FrameData
from tao_like.tasks.pointpillars.model.build import build_network
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.model.for_export import PointPillarsForExport
from tao_like.tasks.pointpillars.phase import PointPillarsPhase
from tao_like.tasks.pointpillars.points_input import POINTS, PointsInput, point_tensors
from tao_like.tasks.pointpillars.predictions import FramePredictions
from tao_like.tasks.pointpillars.spec import Spec as PointPillarsSpec


class PointPillarsTask(Task[PointPillarsSpec, PointPillars], Prunes[PointPillars], Describes):
    """Boxes around the objects of a LiDAR frame."""

    name = "pointpillars"
    Spec = PointPillarsSpec
    stored_dataset_keys = ("class_names", "point_cloud_range", "data_processor", "point_feature_encoding")
    data: FrameData
    predictions: FramePredictions

    def __init__(self, spec: PointPillarsSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = FrameData(spec, trained)
        predictions = FramePredictions(data, trained.thresholds if trained else {}, spec)
        self.points = PointsInput(lambda: data.preprocessing)
        self.compose(
            data=data,
            inputs={POINTS: self.points},
            predictions=predictions,
            phases=[PointPillarsPhase(data, predictions, spec)],
        )

    @override
    def model(self, *, pretrained: bool) -> tuple[PointPillars, list[str]]:
        return build_network(self.spec, self.data.labels.names, pretrained=pretrained)

    @override
    def exports(self, model: PointPillars, input_format: str) -> dict[str, Exportable]:
        del input_format
        has_nms = self.spec.export.nms
        meanings = MEANINGS.final if has_nms else MEANINGS.raw
        graph = Exportable(
            module=PointPillarsForExport(model, self.predictions.selection if has_nms else None).eval(),
            inputs={POINTS: {0: "points"}},
            outputs={name: {} for name in meanings},
            meanings=meanings,
            to_inputs=point_tensors,
            one_by_one=True,
        )
        return {ONLY_PART: graph}

    @override
    def prunable(self, model: PointPillars) -> dict[str, Prunable]:
        return {ONLY_PART: Prunable((self.points.points(),), model.outputs)}

    @override
    def metadata_extra(self) -> dict[str, Any]:
        return {"selection": vars(self.predictions.selection)}


TASK = PointPillarsTask
