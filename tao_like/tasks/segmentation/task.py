"""Semantic segmentation as the stages see it."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from tao_like.contract.capabilities import HoldsGraph, Prunes
from tao_like.contract.model import ONLY_PART, Exportable, Prunable
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.networks.imported.pyramid import imported_graph
from tao_like.tasks.segmentation.data.data import SegmentationData
from tao_like.tasks.segmentation.export import SegmenterExport
from tao_like.tasks.segmentation.model.build import build_network
from tao_like.tasks.segmentation.model.pruning import protected_layers
from tao_like.tasks.segmentation.model.segmenter import Segmenter
from tao_like.tasks.segmentation.phase import SegmentationPhase
from tao_like.tasks.segmentation.predictions import MaskPredictions
from tao_like.tasks.segmentation.spec import Spec as SegmentationSpec


class SegmentationTask(Task[SegmentationSpec, Segmenter], Prunes[Segmenter], HoldsGraph):
    """The class of every pixel of a photo."""

    name = "segmentation"
    Spec = SegmentationSpec
    stored_dataset_keys = ("img_size", "img_height", "resize", "tiling", "pixel_range")
    late_dataset_keys = ("tiling",)
    continued_model_keys = ("backbone.freeze_backbone", "backbone.freeze_norm", "loss")
    data: SegmentationData

    def __init__(self, spec: SegmentationSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = SegmentationData(spec, trained)
        predictions = MaskPredictions(data, spec)
        self.export = SegmenterExport(predictions, dynamic_size=spec.export.dynamic_size)
        self.compose(
            data=data,
            inputs=data.inputs,
            predictions=predictions,
            phases=[SegmentationPhase(data, predictions, spec)],
            capabilities=[self.export, *data.tilings()],
        )

    @override
    def model(self, *, pretrained: bool) -> tuple[Segmenter, list[str]]:
        size = (self.data.preprocessing.height, self.data.preprocessing.width)
        trained = self.trained
        graph = (trained.graph, trained.extra) if trained and trained.graph is not None else None
        return build_network(self.spec, self.data.labels.names, size, pretrained=pretrained, graph=graph)

    @override
    def exports(self, model: Segmenter, input_format: str) -> dict[str, Exportable]:
        return {ONLY_PART: self.export.graph(model, input_format)}

    @override
    def prunable(self, model: Segmenter) -> dict[str, Prunable]:
        return {ONLY_PART: Prunable((self.data.image_input.pixels(),), protected_layers(model))}

    @override
    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        backbone = self.spec.model.backbone
        return imported_graph(backbone.type, backbone.pretrained_backbone_path)


TASK = SegmentationTask
