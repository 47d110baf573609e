"""Object detection as the stages see it."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from tao_like.contract.capabilities import HoldsGraph, Prunes
from tao_like.contract.model import ONLY_PART, Exportable, Prunable
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.networks.imported.pyramid import imported_graph
from tao_like.tasks.detection.data.data import DetectionData
from tao_like.tasks.detection.export import DetectorExport
from tao_like.tasks.detection.model.build import build_network
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.phase import DetectionPhase
from tao_like.tasks.detection.predictions import BoxPredictions
from tao_like.tasks.detection.spec import Spec as DetectionSpec


class DetectionTask(Task[DetectionSpec, Detector], Prunes[Detector], HoldsGraph):
    """Boxes around the objects of an image."""

    name = "detection"
    Spec = DetectionSpec
    stored_dataset_keys = ("img_size", "img_height", "resize", "tiling", "pixel_range")
    late_dataset_keys = ("tiling",)
    continued_model_keys = ("backbone.freeze_backbone", "backbone.freeze_norm")
    data: DetectionData

    def __init__(self, spec: DetectionSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = DetectionData(spec, trained)
        predictions = BoxPredictions(data, trained.thresholds if trained else {}, spec)
        self.export = DetectorExport(predictions, nms=spec.export.nms)
        self.compose(
            data=data,
            inputs=data.inputs,
            predictions=predictions,
            phases=[DetectionPhase(data, predictions, spec)],
            capabilities=[self.export, *data.tilings()],
        )

    @override
    def model(self, *, pretrained: bool) -> tuple[Detector, list[str]]:
        size = (self.data.preprocessing.height, self.data.preprocessing.width)
        trained = self.trained
        graph = (trained.graph, trained.extra) if trained and trained.graph is not None else None
        return build_network(self.spec, self.data.labels.names, size, pretrained=pretrained, graph=graph)

    @override
    def exports(self, model: Detector, input_format: str) -> dict[str, Exportable]:
        return {ONLY_PART: self.export.graph(model, input_format)}

    @override
    def prunable(self, model: Detector) -> dict[str, Prunable]:
        return {ONLY_PART: Prunable(model.example_inputs(self.data.image_input.pixels()), model.outputs)}

    @override
    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        backbone = self.spec.model.backbone
        return imported_graph(backbone.type, backbone.pretrained_backbone_path)


TASK = DetectionTask
