"""Image classification as the stages see it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from typing_extensions import override

from tao_like.contract.capabilities import HoldsGraph, Prunes
from tao_like.contract.model import ONLY_PART, Exportable, Prunable
from tao_like.contract.task import Task
from tao_like.contract.trained import TrainedState
from tao_like.networks.imported.backbone import kept_extra
from tao_like.networks.structure import refresh_widths
from tao_like.tasks.classification.backbone import (
    build_backbone,
    fill_backbone,
    imported_bundle,
    normalization_for,
)
from tao_like.tasks.classification.data.data import ClassificationData
from tao_like.tasks.classification.model import ClassificationNetwork, ClassifierForExport
from tao_like.tasks.classification.phase import ClassificationPhase
from tao_like.tasks.classification.predictions import ClassActivation, ClassificationPredictions
from tao_like.tasks.classification.spec import Spec as ClassificationSpec
from tao_like.tasks.classification.warm_start import warm_start
from tao_like.tasks.common.image_input import IMAGE, ImageInput, image_tensors


class ClassificationTask(
    Task[ClassificationSpec, ClassificationNetwork], Prunes[ClassificationNetwork], HoldsGraph
):
    """One label an image, or several."""

    name = "classification"
    Spec = ClassificationSpec
    stored_dataset_keys = ("img_size", "resize", "crop_pct", "multi_label", "pixel_range")
    continued_model_keys = ("backbone.freeze_backbone", "backbone.freeze_norm", "head")
    data: ClassificationData
    predictions: ClassificationPredictions

    def __init__(self, spec: ClassificationSpec, trained: TrainedState | None = None) -> None:
        super().__init__(spec, trained)
        data = ClassificationData(spec, trained)
        predictions = ClassificationPredictions(data, trained.thresholds if trained else {}, data.multi_label)
        self.image = ImageInput(lambda: data.preprocessing)
        self.compose(
            data=data,
            inputs={IMAGE: self.image},
            predictions=predictions,
            phases=[ClassificationPhase(data, predictions, spec)],
            capabilities=[ClassActivation()],
        )

    @override
    def model(self, *, pretrained: bool) -> tuple[ClassificationNetwork, list[str]]:
        spec, classes = self.spec, self.data.labels.names
        backbone = build_backbone(spec, classes, self.trained)
        augmentation = spec.dataset.augmentation
        own = self.data.normalization if pretrained else normalization_for(spec, pretrained=False)
        model = ClassificationNetwork(backbone, augmentation.mean or own.mean, augmentation.std or own.std)
        if not pretrained:
            return model, []
        model.start_head_small()
        if spec.train.pretrained_model_path:
            path = Path(spec.train.pretrained_model_path)
            return model, warm_start(model, path, classes, spec.model.backbone.type)
        notes = fill_backbone(spec, classes, backbone)
        if augmentation.mean and tuple(augmentation.mean) != tuple(own.mean):
            notes.append(
                f"dataset.augmentation.mean is {augmentation.mean}; if it were not given, it would be "
                f"{list(own.mean)}"
            )
        return model, notes

    @override
    def exports(self, model: ClassificationNetwork, input_format: str) -> dict[str, Exportable]:
        meanings = self.predictions.meanings
        graph = Exportable(
            module=ClassifierForExport(model, input_format, self.data.multi_label).eval(),
            inputs={IMAGE: {0: "batch"}},
            outputs={name: {0: "batch"} for name in meanings},
            meanings=meanings,
            to_inputs=partial(image_tensors, model, input_format),
        )
        return {ONLY_PART: graph}

    @override
    def prunable(self, model: ClassificationNetwork) -> dict[str, Prunable]:
        pixels = self.image.pixels()

        def refresh() -> None:
            refresh_widths(model.backbone, model.normalise(pixels))

        return {ONLY_PART: Prunable((pixels,), model.head, refresh)}

    @override
    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        bundle = imported_bundle(self.spec)
        return (None, {}) if bundle is None else (bundle.graph, kept_extra(bundle))


TASK = ClassificationTask
