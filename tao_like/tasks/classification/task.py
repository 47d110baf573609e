"""Image classification as the stages see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.task import (
    Batch,
    DataReport,
    Exportable,
    ModelRecord,
    Outputs,
    Prunable,
    Sample,
    Split,
)
from tao_like.errors import DatasetError
from tao_like.networks.backbones.build import Normalisation
from tao_like.networks.freezing import freeze_norms
from tao_like.networks.structure import refresh_widths
from tao_like.plots.cards import NEUTRAL, draw_card
from tao_like.runtime.inputs.image import ImagePreparation, prepare
from tao_like.runtime.predictions.classes import MULTI_LABEL, SINGLE_LABEL, decide
from tao_like.tasks.classification.backbone import (
    build_backbone,
    fill_backbone,
    imported_bundle,
    normalisation_for,
)
from tao_like.tasks.classification.check import check_data
from tao_like.tasks.classification.data import Augmentation, ImageDataset, collate_images
from tao_like.tasks.classification.draw import draw_answer
from tao_like.tasks.classification.explain import class_activation_maps
from tao_like.tasks.classification.model import ClassificationNetwork, ShippedClassifier
from tao_like.tasks.classification.objective import Objective
from tao_like.tasks.classification.source import LabelledImages
from tao_like.tasks.classification.spec import Spec as ClassificationSpec
from tao_like.tasks.classification.warm_start import warm_start
from tao_like.tasks.common.class_metrics import ClassificationMetrics
from tao_like.tasks.common.image_task import ImageTask

MULTI_LABEL_METRICS = ("exact_match", "mean_average_precision")
MAX_PROBABILITY_COLUMNS = 100
"""With more classes than this, the CSV of predictions leaves the single probabilities out."""


class ClassificationTask(ImageTask[ClassificationSpec]):
    """One label a picture, or several."""

    name = "classification"
    Spec = ClassificationSpec
    headline = "accuracy"
    higher_is_better: ClassVar[Mapping[str, bool]] = {
        "accuracy": True,
        "exact_match": True,
        "mean_average_precision": True,
        "precision": True,
        "recall": True,
        "f1": True,
        "calibration_error": False,
    }
    model_data_keys = ("img_size", "resize", "crop_pct", "multi_label", "pixel_range")

    images: LabelledImages

    def __init__(self, spec: ClassificationSpec, record: ModelRecord | None = None) -> None:
        super().__init__(spec, record)
        self.multi_label = spec.dataset.multi_label
        self.images = LabelledImages(
            spec.dataset, record.split if record else None, record.classes if record else None
        )

    @override
    def reported(self) -> Mapping[str, bool]:
        if self.multi_label:
            return self.higher_is_better
        single = {k: better for k, better in self.higher_is_better.items() if k not in MULTI_LABEL_METRICS}
        ks = (k for k in self.spec.model.head.topk if 1 < k <= len(self.classes))
        return single | {f"top{k}_accuracy": True for k in ks}

    # --- data ---

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> ImageDataset:
        records = self.images.records(split)
        if not records:
            raise DatasetError(
                f"there is no {split} data; give dataset.{split}_dataset.images_dir or csv_file"
            )
        unknown = sorted({label for record in records for label in record.labels} - set(self.classes))
        if unknown:
            raise DatasetError(
                f"the split `{split}` has classes that the network does not know: {', '.join(unknown[:10])}; "
                f"it knows {', '.join(self.classes[:10])}. Rename the folders, or train on these classes too"
            )
        change = Augmentation(self.spec.dataset.augmentation, self.image_preparation) if augment else None
        return ImageDataset(
            records,
            self.classes,
            self.image_preparation,
            self.image_store([record.path for record in records]),
            multi_label=self.multi_label,
            augment=change,
        )

    @override
    def collate(self, samples: Sequence[Any]) -> Batch:
        return collate_images(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        return check_data(self, full=full, on_progress=on_progress)

    # --- network ---

    @cached_property
    def normalisation(self) -> Normalisation:
        """Mean, std and resizing that the weights were trained with."""
        return normalisation_for(self)

    @cached_property
    def image_preparation(self) -> ImagePreparation:
        """How a picture becomes an input."""
        if self.record:
            return ImagePreparation.from_dict(self.record.preparation)
        data = self.spec.dataset
        return ImagePreparation(
            height=data.img_size,
            width=data.img_size,
            resize=data.resize,
            crop_pct=data.crop_pct or self.normalisation.crop_pct,
            interpolation=self.normalisation.interpolation,
            window=self.pixel_window(data.pixel_range),
        )

    @override
    def network(self, *, pretrained: bool) -> tuple[ClassificationNetwork, list[str]]:
        module = build_backbone(self)
        notes: list[str] = []
        augmentation = self.spec.dataset.augmentation
        own = self.normalisation if pretrained else normalisation_for(self, pretrained=False)
        mean, std = augmentation.mean or own.mean, augmentation.std or own.std
        network = ClassificationNetwork(module, mean, std)
        if not pretrained:
            return network, notes
        network.start_head_small()
        if self.spec.train.pretrained_model_path:
            path = Path(self.spec.train.pretrained_model_path)
            return network, warm_start(network, path, self.classes, self.spec.model.backbone.type)
        notes += fill_backbone(self, module)
        if augmentation.mean and tuple(augmentation.mean) != tuple(own.mean):
            notes.append(
                f"dataset.augmentation.mean is {augmentation.mean}; if it were not given, it would be "
                f"{list(own.mean)}"
            )
        return network, notes

    @override
    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        if self.record is not None:
            return self.record.graph, self.record.extra
        bundle = imported_bundle(self)
        return (None, {}) if bundle is None else (bundle.graph, {"cut": bundle.extra.get("cut")})

    @override
    def parameter_groups(self, network: nn.Module) -> dict[str, list[nn.Module]]:
        assert isinstance(network, ClassificationNetwork)
        head = {module for part in network.head for module in part.modules()}
        return {"backbone": [module for module in network.backbone.modules() if module not in head]}

    @override
    def freeze(self, network: nn.Module) -> None:
        assert isinstance(network, ClassificationNetwork)
        if self.spec.model.backbone.freeze_norm:
            freeze_norms(network.backbone)
        if self.spec.model.backbone.freeze_backbone:
            network.freeze_below_head()

    @cached_property
    def _objective(self) -> Objective:
        return Objective.of(self.spec, len(self.classes), lambda: self.dataset("train").targets)

    @override
    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return self._objective.losses(network, batch)

    @override
    def distillation_losses(
        self, network: nn.Module, teacher: nn.Module, batch: Batch, *, loss_lambda: float, temperature: float
    ) -> dict[str, Tensor]:
        return self._objective.distillation_losses(network, teacher, batch, loss_lambda, temperature)

    @override
    def validate(self, network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
        return self._objective.validate(network, batch)

    @override
    def prunable(self, network: nn.Module) -> Prunable:
        assert isinstance(network, ClassificationNetwork)
        pixels = self.input_pixels()

        def refresh() -> None:
            refresh_widths(network.backbone, network.normalise(pixels))

        return Prunable((pixels,), network.head, refresh)

    @classmethod
    @override
    def continued_spec(cls, spec: ClassificationSpec, stored: ClassificationSpec) -> ClassificationSpec:
        restored = cls.restored_spec(spec, stored)
        own = {name: getattr(spec.model.backbone, name) for name in ("freeze_backbone", "freeze_norm")}
        backbone = replace(stored.model.backbone, **own)
        return replace(restored, model=replace(stored.model, backbone=backbone, head=spec.model.head))

    # --- answers ---

    @override
    def exportable(self, network: nn.Module, input_format: str) -> Exportable:
        assert isinstance(network, ClassificationNetwork)
        module = ShippedClassifier(network, input_format, self.multi_label).eval()

        return Exportable(
            module=module,
            inputs={"image": {0: "batch"}},
            outputs={"probabilities": {0: "batch"}},
            meanings={"probabilities": MULTI_LABEL if self.multi_label else SINGLE_LABEL},
            to_inputs=partial(self.input_tensors, network, input_format),
        )

    @override
    def answers(self, outputs: Outputs) -> list[np.ndarray]:
        return list(outputs["probabilities"])

    @override
    def targets(self, batch: Batch) -> list[Any]:
        return list(batch.targets.cpu().numpy())

    @override
    def metrics(self) -> ClassificationMetrics:
        return ClassificationMetrics(
            self.classes, self.spec.model.head.topk, self.multi_label, self.stored_thresholds
        )

    @override
    def row(self, sample: Sample, answer: np.ndarray) -> dict[str, Any]:
        decision = decide(answer, self.classes, self.stored_thresholds, self.multi_label)
        row: dict[str, Any] = {
            "path": sample.key,
            "label": ";".join(decision.labels),
            "score": f"{decision.score:.6f}",
            "rejected": decision.rejected,
        }
        if sample.target is not None:
            truth = self._names(sample.target)
            row |= {"truth": ";".join(truth), "correct": set(truth) == set(decision.labels)}
        if len(self.classes) <= MAX_PROBABILITY_COLUMNS:
            row |= {f"p_{name}": f"{value:.6f}" for name, value in zip(self.classes, answer, strict=True)}
        return row

    def _names(self, target: np.ndarray) -> list[str]:
        numbers = np.flatnonzero(target) if self.multi_label else [int(target)]
        return [self.classes[number] for number in numbers]

    @override
    def draw(self, sample: Sample, answer: np.ndarray, heat: np.ndarray | None = None) -> Image.Image:
        decision = decide(answer, self.classes, self.stored_thresholds, self.multi_label)
        # The map is of what the network saw, which may be the middle of the picture alone.
        picture = (
            sample.data if heat is None else Image.fromarray(prepare(sample.data, self.image_preparation))
        )
        truth = None if sample.target is None else self._names(sample.target)
        return draw_answer(picture, decision, truth, Path(sample.key).name, heat)

    @override
    def draw_batch(self, batch: Batch) -> list[Image.Image]:
        labels = [", ".join(self._names(target)) for target in batch.targets.cpu().numpy()]
        return [
            draw_card(Image.fromarray(pixels), [label], NEUTRAL)
            for pixels, label in zip(self.prepared(batch), labels, strict=True)
        ]

    @override
    def explain(self, network: nn.Module, prepared: np.ndarray) -> list[np.ndarray] | None:
        assert isinstance(network, ClassificationNetwork)
        pixels = torch.from_numpy(prepared).permute(0, 3, 1, 2)
        return class_activation_maps(network, pixels.to(network.normalise.mean.device))


TASK = ClassificationTask
