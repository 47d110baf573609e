"""Instance segmentation as the stages see it."""

from __future__ import annotations

from dataclasses import replace

from typing_extensions import override

from tao_like.contract.capabilities import Prunes
from tao_like.contract.model import ONLY_PART, Exportable, Prunable
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.tasks.instance_segmentation.data.data import InstanceData
from tao_like.tasks.instance_segmentation.export import InstanceExport
from tao_like.tasks.instance_segmentation.model.build import build_network
from tao_like.tasks.instance_segmentation.model.network import InstanceNetwork
from tao_like.tasks.instance_segmentation.phase import InstancePhase
from tao_like.tasks.instance_segmentation.predictions import InstancePredictions
from tao_like.tasks.instance_segmentation.spec import Spec as InstanceSpec


class InstanceSegmentationTask(Task[InstanceSpec, InstanceNetwork], Prunes[InstanceNetwork]):
    """Boxes around the objects of an image, and the pixels of each."""

    name = "instance_segmentation"
    Spec = InstanceSpec
    stored_dataset_keys = ("img_size", "img_height", "resize", "pixel_range")
    continued_model_keys = ("backbone.freeze_backbone", "backbone.freeze_norm")
    data: InstanceData

    def __init__(self, spec: InstanceSpec, trained: TrainedState | None = None) -> None:
        data = InstanceData(spec, trained)
        self._regions_of_data = _stated_regions(spec, data) if trained is None else []
        spec = _with_regions(spec, self._regions_of_data)
        super().__init__(spec, trained)
        predictions = InstancePredictions(data, trained.thresholds if trained else {}, spec)
        self.export = InstanceExport(predictions)
        self.compose(
            data=data,
            inputs=data.inputs,
            predictions=predictions,
            phases=[InstancePhase(data, predictions, spec)],
            capabilities=[self.export],
        )

    @override
    def model(self, *, pretrained: bool) -> tuple[InstanceNetwork, list[str]]:
        size = (self.data.preprocessing.height, self.data.preprocessing.width)
        network, notes = build_network(self.spec, self.data.labels.names, size, pretrained=pretrained)
        if self._regions_of_data and pretrained:
            names = ", ".join(self._regions_of_data)
            notes.append(f"the data says that these classes are regions: {names}")
        return network, notes

    @override
    def exports(self, model: InstanceNetwork, input_format: str) -> dict[str, Exportable]:
        return {ONLY_PART: self.export.graph(model, input_format)}

    @override
    def prunable(self, model: InstanceNetwork) -> dict[str, Prunable]:
        return {ONLY_PART: Prunable(model.example_inputs(self.data.image_input.pixels()), model.protected)}


def _stated_regions(spec: InstanceSpec, data: InstanceData) -> list[str]:
    """The classes that the data says are regions, where they count and the spec names none."""
    model = spec.model
    wanted = model.makes_segments and model.mode == "panoptic" and not model.mask_former.region_classes
    return data.source.regions() if wanted and data.has("train") else []


def _with_regions(spec: InstanceSpec, names: list[str]) -> InstanceSpec:
    if not names:
        return spec
    queries = replace(spec.model.mask_former, region_classes=names)
    return replace(spec, model=replace(spec.model, mask_former=queries))


TASK = InstanceSegmentationTask
