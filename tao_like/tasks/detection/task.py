"""Object detection as the stages see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.capabilities import AnchorFit
from tao_like.contract.task import (
    Batch,
    DataReport,
    Dataset,
    Exportable,
    ModelRecord,
    Outputs,
    Prunable,
    Sample,
    Split,
)
from tao_like.errors import DatasetError, SpecError
from tao_like.networks.backbones.names import IMPORTED
from tao_like.networks.freezing import freeze, freeze_norms
from tao_like.networks.imported.pyramid import imported_source
from tao_like.runtime.geometry.boxes import placement
from tao_like.runtime.inputs.image import ImagePreparation
from tao_like.runtime.predictions.boxes import (
    MEANINGS,
    Detection,
    Selection,
    decide,
    found_boxes,
    joined_boxes,
)
from tao_like.runtime.predictions.detections import FoundBoxes
from tao_like.runtime.predictions.tiles import Tiling, cut
from tao_like.tasks.common.box_agreement import largest_difference
from tao_like.tasks.common.box_predictions import answer_row, drawn_answers, drawn_objects
from tao_like.tasks.common.image_task import ImageTask
from tao_like.tasks.detection.anchors.fit import fit_anchors
from tao_like.tasks.detection.data.augmentation import Augmentation
from tao_like.tasks.detection.data.check import check_data
from tao_like.tasks.detection.data.convert import convert_labels
from tao_like.tasks.detection.data.dataset import DetectionDataset, Truth, collate_items
from tao_like.tasks.detection.data.scales import resized_batch
from tao_like.tasks.detection.data.source import LabelledBoxes, inference_files
from tao_like.tasks.detection.data.tiles import TiledDataset, tiles_of
from tao_like.tasks.detection.draw import draw_boxes
from tao_like.tasks.detection.float_tail import float_tail
from tao_like.tasks.detection.losses.distillation import answers_losses
from tao_like.tasks.detection.metrics.agreement import comparison
from tao_like.tasks.detection.metrics.coco import COCO_NAMES
from tao_like.tasks.detection.metrics.detection import VOC_NAME, DetectionMetrics
from tao_like.tasks.detection.model.build import build_network, input_normalisation
from tao_like.tasks.detection.model.detector import Detector
from tao_like.tasks.detection.model.for_export import ShippedDetector, suppressed
from tao_like.tasks.detection.prediction_files import PictureResult, coco_text, kitti_texts
from tao_like.tasks.detection.spec import Spec as DetectionSpec

if TYPE_CHECKING:
    import onnx

FILL = 114  # grey of the borders around a picture, as in YOLOX


class DetectionTask(ImageTask[DetectionSpec]):
    """Boxes around the objects of a picture."""

    name = "detection"
    Spec = DetectionSpec
    headline = "mAP"
    higher_is_better: ClassVar[Mapping[str, bool]] = dict.fromkeys(COCO_NAMES, True)
    model_data_keys = ("img_size", "img_height", "resize", "tiling", "pixel_range")

    images: LabelledBoxes

    def __init__(self, spec: DetectionSpec, record: ModelRecord | None = None) -> None:
        super().__init__(spec, record)
        self.images = LabelledBoxes(
            spec.dataset, record.split if record else None, record.classes if record else None
        )

    @override
    def reported(self) -> Mapping[str, bool]:
        has_voc = self.spec.evaluate.average_precision_mode != "none"
        return {**self.higher_is_better, **({VOC_NAME: True} if has_voc else {})}

    # --- data ---

    @override
    def data_key(self, split: Split) -> str:
        return f"dataset.{split}_data_sources"

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> DetectionDataset:
        records = self.images.records(split)
        if not records:
            raise DatasetError(f"there is no {split} data; give {self.data_key(split)}")
        augmentation = self.spec.dataset.augmentation
        make = partial(TiledDataset, tiling=self.tiling) if self.tiling else DetectionDataset
        return make(
            records,
            self.classes,
            self.image_preparation,
            self.image_store([record.path for record in records]),
            augment=Augmentation(augmentation, self.image_preparation) if augment else None,
            strong_epochs=self.spec.train.num_epochs - augmentation.plain_epochs,
        )

    @cached_property
    def tiling(self) -> Tiling | None:
        """How big pictures are cut; None: they are not."""
        if self.record and "selection" in self.record.extra:
            # An exported file says all of it, so that answers are those of the runtime.
            return Tiling.of(self.record.extra)
        settings, preparation = self.spec.dataset.tiling, self.image_preparation
        if not settings.enable:
            return None
        return Tiling(
            settings.tile_width or preparation.width,
            settings.tile_height or preparation.height,
            settings.overlap,
            settings.agreement,
        )

    @override
    def count(self, split: Split) -> int:
        records = self.images.records(split)
        return len(tiles_of(records, self.tiling)) if self.tiling else len(records)

    @override
    def parts(self, sample: Sample) -> list[Sample]:
        return [Sample(sample.key, part) for part in cut(sample.data, self.tiling)]

    @override
    def joined(self, sample: Sample, answers: Sequence[FoundBoxes]) -> FoundBoxes:
        if self.tiling is None:
            return answers[0]
        return joined_boxes(answers, sample.data.size, self.image_preparation, self.tiling)

    @override
    def whole_sample(self, dataset: Dataset, index: int) -> Sample:
        return dataset.whole(index) if isinstance(dataset, TiledDataset) else dataset.sample(index)

    @override
    def default_sources(self) -> list[Path]:
        return inference_files(self.spec.dataset.infer_data_sources, self.classes)

    @override
    def collate(self, samples: Sequence[Any]) -> Batch:
        return collate_items(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        return check_data(self, full=full, on_progress=on_progress)

    @override
    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        return convert_labels(self, folder)

    @override
    def fit_anchors(self) -> AnchorFit:
        return fit_anchors(self)

    # --- network ---

    @cached_property
    def image_preparation(self) -> ImagePreparation:
        """How a picture becomes an input."""
        if self.record:
            return ImagePreparation.from_dict(self.record.preparation)
        data = self.spec.dataset
        return ImagePreparation(
            height=data.img_height or data.img_size,
            width=data.img_size,
            resize=data.resize,
            crop_pct=1.0,
            interpolation=input_normalisation(self.spec.model).interpolation,
            fill=FILL,
            window=self.pixel_window(data.pixel_range),
        )

    @override
    def network(self, *, pretrained: bool) -> tuple[Detector, list[str]]:
        size = (self.image_preparation.height, self.image_preparation.width)
        graph = None if self.record is None else self.record.graph
        return build_network(self.spec, self.classes, size, pretrained=pretrained, graph=graph)

    @override
    def imported_graph(self) -> tuple[bytes | None, dict[str, Any]]:
        if self.record is not None:
            return self.record.graph, self.record.extra
        backbone = self.spec.model.backbone
        if backbone.type != IMPORTED or backbone.pretrained_backbone_path is None:
            return None, {}
        return imported_source(backbone.pretrained_backbone_path).graph, {}

    @override
    def parameter_groups(self, network: nn.Module) -> dict[str, list[nn.Module]]:
        assert isinstance(network, Detector)
        return {"backbone": list(network.backbone.modules())}

    @override
    def freeze(self, network: nn.Module) -> None:
        assert isinstance(network, Detector)
        if self.spec.model.backbone.freeze_norm:
            freeze_norms(network.backbone)
        if self.spec.model.backbone.freeze_backbone:
            freeze(network.backbone)

    @override
    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        batch = resized_batch(batch, self.spec.dataset.augmentation.multi_scale_range)
        assert isinstance(network, Detector)
        targets = batch.targets
        return network.losses(
            network(batch.inputs), targets["boxes"], targets["labels"], refine=targets["plain"]
        )

    @override
    def distillation_losses(
        self, network: nn.Module, teacher: nn.Module, batch: Batch, *, loss_lambda: float, temperature: float
    ) -> dict[str, Tensor]:
        batch = resized_batch(batch, self.spec.dataset.augmentation.multi_scale_range)
        assert isinstance(network, Detector)
        assert isinstance(teacher, Detector)
        if not (network.answers_by_place and teacher.answers_by_place):
            raise SpecError(
                f"train.distill.teacher_model_path: {self.spec.model.arch} answers at other places "
                "on every picture, so it cannot learn from a teacher; leave it empty"
            )
        values, targets = network(batch.inputs), batch.targets
        parts = network.losses(values, targets["boxes"], targets["labels"], refine=targets["plain"])
        with torch.no_grad():
            wanted = teacher.decode(teacher(batch.inputs))
        taught = answers_losses(network.decode(values), wanted, temperature)
        own = {name: (1 - loss_lambda) * value for name, value in parts.items()}
        return own | {name: loss_lambda * value for name, value in taught.items()}

    @override
    def validate(self, network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
        assert isinstance(network, Detector)
        values = network(batch.inputs)
        outputs = suppressed(*network.decode(values), self.selection)
        named = {name: value.cpu().numpy() for name, value in zip(MEANINGS.final, outputs, strict=True)}
        targets = batch.targets
        return network.losses(values, targets["boxes"], targets["labels"], refine=False), named

    @override
    def prunable(self, network: nn.Module) -> Prunable:
        assert isinstance(network, Detector)
        return Prunable(network.example_inputs(self.input_pixels()), network.outputs)

    @classmethod
    @override
    def continued_spec(cls, spec: DetectionSpec, stored: DetectionSpec) -> DetectionSpec:
        restored = cls.restored_spec(spec, stored)
        own = {name: getattr(spec.model.backbone, name) for name in ("freeze_backbone", "freeze_norm")}
        return replace(restored, model=replace(stored.model, backbone=replace(stored.model.backbone, **own)))

    # --- answers ---

    @property
    def selection(self) -> Selection:
        """Which of the network's boxes are answers."""
        settings = self.spec.model.postprocess
        return Selection(
            settings.score_threshold, settings.iou_threshold, settings.max_detections, settings.candidates
        )

    @override
    def exportable(self, network: nn.Module, input_format: str) -> Exportable:
        assert isinstance(network, Detector)
        has_nms = self.spec.export.nms
        module = ShippedDetector(network, input_format, self.selection if has_nms else None).eval()
        meanings = MEANINGS.final if has_nms else MEANINGS.raw
        return Exportable(
            module=module,
            inputs={"image": {0: "batch"}},
            outputs={name: {0: "batch"} for name in meanings},
            meanings=meanings,
            to_inputs=partial(self.input_tensors, network, input_format),
        )

    @override
    def float_nodes(self, graph: onnx.GraphProto, layers: Collection[str]) -> dict[str, str]:
        return float_tail(graph, layers)

    @override
    def metadata_extra(self) -> dict[str, Any]:
        tiling = {"tiling": self.tiling.to_dict()} if self.tiling else {}
        return {"selection": vars(self.selection), **tiling}

    @override
    def answers(self, outputs: Outputs) -> list[FoundBoxes]:
        return found_boxes(MEANINGS.of_names(outputs), self.selection)

    @override
    def targets(self, batch: Batch) -> list[Truth]:
        truths: list[Truth] = batch.targets["truths"]
        return truths

    @override
    def difference(self, expected: Outputs, actual: Outputs) -> float:
        side = max(self.image_preparation.height, self.image_preparation.width)
        return largest_difference(
            self.answers(expected), self.answers(actual), comparison(self.selection, side)
        )

    @override
    def metrics(self) -> DetectionMetrics:
        settings = self.spec.evaluate
        return DetectionMetrics(
            self.classes,
            self.image_preparation,
            self.stored_thresholds,
            voc_mode=settings.average_precision_mode,
            voc_overlap=settings.matching_iou_threshold,
            tiling=self.tiling,
        )

    def _detections(self, sample: Sample, answer: FoundBoxes) -> tuple[Detection, ...]:
        place = placement(sample.data.width, sample.data.height, self.image_preparation)
        return decide(answer, place, self.classes, self.stored_thresholds)

    @override
    def row(self, sample: Sample, answer: FoundBoxes) -> dict[str, Any]:
        truth = None if sample.target is None else int((~sample.target.arrays.crowd).sum())
        return answer_row(sample.key, self._detections(sample, answer), self.classes, truth)

    @override
    def entry(self, sample: Sample, answer: FoundBoxes) -> PictureResult:
        size = (sample.data.width, sample.data.height)
        return PictureResult(sample.key, *size, self._detections(sample, answer))

    @override
    def result_files(self, entries: Sequence[PictureResult]) -> dict[str, str]:
        files = {"detections.json": coco_text(entries, self.classes)}
        if self.spec.inference.label_files == "kitti":
            files |= kitti_texts(entries)
        return files

    @override
    def draw(self, sample: Sample, answer: FoundBoxes, heat: np.ndarray | None = None) -> Image.Image:
        del heat
        drawn = drawn_answers(self._detections(sample, answer), self.classes)
        truths = [] if sample.target is None else sample.target.arrays.boxes.tolist()
        return draw_boxes(sample.data, drawn, truths)

    @override
    def draw_batch(self, batch: Batch) -> list[Image.Image]:
        pixels = batch.inputs.permute(0, 2, 3, 1).clamp(0, 255).byte().cpu().numpy()
        boxes, labels = batch.targets["boxes"], batch.targets["labels"]
        return [
            draw_boxes(Image.fromarray(picture), drawn_objects(places, numbers, self.classes))
            for picture, places, numbers in zip(pixels, boxes, labels, strict=True)
        ]


TASK = DetectionTask
