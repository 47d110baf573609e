"""Semantic segmentation as the stages see it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from typing_extensions import override

from tao_like.contract.capabilities import HoldsGraph, Prunes
from tao_like.contract.model import ONLY_PART, Exportable, Prunable
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.networks.imported.pyramid import imported_graph
from tao_like.tasks.common.image_input import IMAGE, ImageInput
from tao_like.tasks.common.image_tiles import with_own_tiling
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
    data: SegmentationData

    def __init__(self, spec: SegmentationSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = SegmentationData(spec, trained)
        predictions = MaskPredictions(data, spec)
        self.image = ImageInput(lambda: data.preprocessing, lambda: data.big_images)
        self.export = SegmenterExport(predictions, dynamic_size=spec.export.dynamic_size)
        self.compose(
            data=data,
            inputs={IMAGE: self.image},
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
        return {ONLY_PART: Prunable((self.image.pixels(),), protected_layers(model))}

    @override
    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        if self.trained is not None:
            return self.trained.graph, self.trained.extra
        backbone = self.spec.model.backbone
        return imported_graph(backbone.type, backbone.pretrained_backbone_path)

    @classmethod
    @override
    def restored_spec(cls, spec: SegmentationSpec, stored: SegmentationSpec) -> SegmentationSpec:
        return with_own_tiling(super().restored_spec(spec, stored), spec)

    @classmethod
    @override
    def continued_spec(cls, spec: SegmentationSpec, stored: SegmentationSpec) -> SegmentationSpec:
        restored = cls.restored_spec(spec, stored)
        own = {name: getattr(spec.model.backbone, name) for name in ("freeze_backbone", "freeze_norm")}
        backbone = replace(stored.model.backbone, **own)
        return replace(restored, model=replace(stored.model, backbone=backbone, loss=spec.model.loss))


TASK = SegmentationTask
