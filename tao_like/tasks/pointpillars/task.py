"""Detection in LiDAR frames as the stages see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
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
from tao_like.data.inference_files import point_sources
from tao_like.data.lidar.echoes import largest_echo
from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import read_image
from tao_like.runtime.inputs.points import Points, PointsPreparation, prepare_points, read_points
from tao_like.runtime.predictions.boxes3d import MEANINGS, Detection3d, Selection3d, decide, found_boxes
from tao_like.runtime.predictions.detections import FoundBoxes
from tao_like.tasks.common.box_agreement import largest_difference
from tao_like.tasks.common.box_predictions import answer_row, drawn_answers, drawn_objects
from tao_like.tasks.common.split_task import SplitTask
from tao_like.tasks.pointpillars.data.augmentation import Augmentation, Database, Scene, make_database
from tao_like.tasks.pointpillars.data.balancing import balanced
from tao_like.tasks.pointpillars.data.check import check_data
from tao_like.tasks.pointpillars.data.convert import convert_frames
from tao_like.tasks.pointpillars.data.dataset import (
    FrameDataset,
    Truth,
    collate_items,
    frames_of,
    numbered_points,
)
from tao_like.tasks.pointpillars.data.source import LabelledFrames
from tao_like.tasks.pointpillars.draw import draw_frame, draw_on_camera, stacked
from tao_like.tasks.pointpillars.losses import detection_losses
from tao_like.tasks.pointpillars.metrics.agreement import comparison
from tao_like.tasks.pointpillars.metrics.detection3d import NAMES, PointPillarsMetrics
from tao_like.tasks.pointpillars.model.build import build_network
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.model.for_export import ShippedPointPillars, selected
from tao_like.tasks.pointpillars.prediction_files import FrameResult, label_texts
from tao_like.tasks.pointpillars.spec import Spec as PointPillarsSpec

NOISE_POINTS = 2000


class PointPillarsTask(SplitTask[PointPillarsSpec]):
    """Boxes around the objects of a LiDAR frame."""

    name = "pointpillars"
    Spec = PointPillarsSpec
    headline = "mAP_3d"
    input_kind = "points"
    input_format = "points"
    higher_is_better: ClassVar[Mapping[str, bool]] = dict.fromkeys(NAMES, True)
    model_data_keys = ("class_names", "point_cloud_range", "data_processor", "point_feature_encoding")

    def __init__(self, spec: PointPillarsSpec, record: ModelRecord | None = None) -> None:
        super().__init__(spec, record)
        self.frames = LabelledFrames(spec.dataset, record.split if record else None)

    # --- data ---

    @property
    @override
    def classes(self) -> list[str]:
        return self.record.classes if self.record else self.spec.dataset.class_names

    @property
    @override
    def source(self) -> LabelledFrames:
        return self.frames

    @override
    def divides_data(self) -> bool:
        return self.spec.dataset.data_split.is_divided

    @override
    def data_key(self, split: Split) -> str:
        return f"dataset.data_split.{split}"

    @override
    def count(self, split: Split) -> int:
        return len(self.frames.records(split))

    @override
    def dataset(self, split: Split, *, augment: bool = False) -> FrameDataset:
        records = self.frames.records(split)
        if not records:
            raise DatasetError(f"there is no {split} data; give {self.data_key(split)}")
        data = self.spec.dataset
        if augment and data.balanced_resampling:
            records = balanced(records, self.classes, data.map_class_to)
        changes = None
        if augment and data.data_augmentor.steps:
            changes = Augmentation(data.data_augmentor.steps, self.classes, self._database)
        return FrameDataset(
            records,
            self.classes,
            data.map_class_to,
            self.points_preparation,
            remove_outside_boxes=data.remove_outside_boxes,
            augment=changes,
        )

    def _database(self) -> Database:
        """Objects of the training data, for ground-truth sampling."""
        (step,) = (one for one in self.spec.dataset.data_augmentor.steps if one.name == "gt_sampling")
        plain = self.dataset("train")

        def scene(index: int) -> Scene:
            sample = plain.sample(index)
            objects = sample.target.objects
            return Scene(sample.data, objects.boxes[objects.learnt], objects.labels[objects.learnt])

        reads = [lambda index=index: scene(index) for index in range(len(plain))]
        return make_database(reads, step, self.classes)

    @override
    def collate(self, samples: Sequence[Any]) -> Batch:
        return collate_items(samples)

    @override
    def check(self, *, full: bool, on_progress: Callable[[int, int], None] | None = None) -> DataReport:
        return check_data(self, full=full, on_progress=on_progress)

    @override
    def convert(self, folder: Path) -> tuple[dict[str, Any], list[str], str]:
        return convert_frames(self, folder)

    # --- network ---

    @cached_property
    def points_preparation(self) -> PointsPreparation:
        """How a frame becomes an input."""
        if self.record:
            return PointsPreparation.from_dict(self.record.preparation)
        data = self.spec.dataset
        encoding = data.point_feature_encoding
        plain = PointsPreparation(
            tuple(data.point_cloud_range),
            len(encoding.src_feature_list),
            encoding.columns,
            encoding.intensity_scale,
        )
        records = self.frames.records("train") if data.data_path else []
        return replace(plain, largest_echo=largest_echo(records, plain))

    @override
    def network(self, *, pretrained: bool) -> tuple[PointPillars, list[str]]:
        return build_network(self.spec, self.classes, pretrained=pretrained)

    @override
    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(network, PointPillars)
        return self._losses(network, network(batch.inputs, len(batch)), batch)

    def _losses(self, network: PointPillars, values: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        targets = batch.targets
        head = self.spec.model.dense_head
        return detection_losses(network, values, targets["boxes"], targets["labels"], head)

    @override
    def validate(self, network: nn.Module, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
        assert isinstance(network, PointPillars)
        values = network(batch.inputs, len(batch))
        each = [selected(*pair, self.selection) for pair in zip(*network.decode(values), strict=True)]
        outputs = [torch.stack(parts).cpu().numpy() for parts in zip(*each, strict=True)]
        return self._losses(network, values, batch), dict(zip(MEANINGS.final, outputs, strict=True))

    @override
    def prunable(self, network: nn.Module) -> Prunable:
        assert isinstance(network, PointPillars)
        points = self.noise(np.random.default_rng(0)).data
        return Prunable((numbered_points([points]),), network.outputs)

    # --- answers ---

    @property
    def selection(self) -> Selection3d:
        """Which of the network's boxes are answers."""
        settings = self.spec.model.post_processing
        nms = settings.nms_config
        return Selection3d(
            settings.score_thresh,
            nms.nms_thresh,
            nms.nms_post_max_size,
            nms.nms_pre_max_size,
            nms.multi_classes_nms,
        )

    @override
    def exportable(self, network: nn.Module, input_format: str) -> Exportable:
        assert isinstance(network, PointPillars)
        has_nms = self.spec.export.nms
        meanings = MEANINGS.final if has_nms else MEANINGS.raw

        def to_inputs(prepared: Sequence[Points]) -> tuple[Tensor, ...]:
            (points,) = prepared
            return (torch.from_numpy(points),)

        return Exportable(
            module=ShippedPointPillars(network, self.selection if has_nms else None).eval(),
            inputs={"points": {0: "points"}},
            outputs={name: {} for name in meanings},
            meanings=meanings,
            to_inputs=to_inputs,
            one_by_one=True,
        )

    @override
    def metadata_extra(self) -> dict[str, Any]:
        return {"selection": vars(self.selection)}

    @override
    def preparation(self) -> dict[str, Any]:
        return self.points_preparation.to_dict()

    @override
    def input_scaling(self, network: nn.Module) -> dict[str, Any]:
        del network
        return {"mean": [0.0] * 3, "std": [1.0] * 3}

    @override
    def noise(self, generator: np.random.Generator) -> Sample:
        limits = self.points_preparation.point_cloud_range
        low, high = (*limits[:3], 0.0), (*limits[3:], 1.0)
        return Sample("noise", generator.uniform(low, high, (NOISE_POINTS, 4)).astype(np.float32))

    @override
    def prepared(self, batch: Batch) -> list[Points]:
        return frames_of(batch.inputs, len(batch))

    @override
    def prepare(self, samples: Sequence[Sample]) -> list[Points]:
        return [prepare_points(sample.data, self.points_preparation) for sample in samples]

    @override
    def answers(self, outputs: Outputs) -> list[FoundBoxes]:
        return found_boxes(MEANINGS.of_names(outputs), self.selection)

    @override
    def targets(self, batch: Batch) -> list[Truth]:
        truths: list[Truth] = batch.targets["truths"]
        return truths

    @override
    def difference(self, expected: Outputs, actual: Outputs) -> float:
        return largest_difference(self.answers(expected), self.answers(actual), comparison(self.selection))

    @override
    def metrics(self) -> PointPillarsMetrics:
        return PointPillarsMetrics(
            self.classes, self._thresholds, self.spec.model.post_processing.eval_metric
        )

    @property
    def _thresholds(self) -> dict[str, Any]:
        return self.record.thresholds if self.record else {}

    def _detections(self, answer: FoundBoxes) -> tuple[Detection3d, ...]:
        limit = self.spec.inference.viz_conf_thresh
        thresholds = self._thresholds
        if limit is not None:
            thresholds = {"kind": "per_class", "values": [limit] * len(self.classes)}
        return decide(answer, self.classes, thresholds)

    @override
    def row(self, sample: Sample, answer: FoundBoxes) -> dict[str, Any]:
        truth = None if sample.target is None else int(sample.target.objects.learnt.sum())
        return answer_row(sample.key, self._detections(answer), self.classes, truth)

    @override
    def entry(self, sample: Sample, answer: FoundBoxes) -> FrameResult:
        calibration = None if sample.target is None else sample.target.calibration
        return FrameResult(sample.key, self._detections(answer), calibration)

    @override
    def result_files(self, entries: Sequence[FrameResult]) -> dict[str, str]:
        return label_texts(entries)

    @override
    def draw(self, sample: Sample, answer: FoundBoxes, heat: np.ndarray | None = None) -> Image.Image:
        del heat
        drawn = drawn_answers(self._detections(answer), self.classes)
        limits = self.points_preparation.point_cloud_range
        truth: Truth | None = sample.target
        if truth is None:
            return draw_frame(sample.data, limits, drawn)
        truths = truth.objects.boxes[truth.objects.learnt]
        above = draw_frame(sample.data, limits, drawn, truths)
        if truth.image is None or truth.calibration is None:
            return above
        seen = draw_on_camera(read_image(truth.image), truth.calibration, drawn, truths)
        return stacked(seen, above)

    @override
    def draw_batch(self, batch: Batch) -> list[Image.Image]:
        limits = self.points_preparation.point_cloud_range
        frames = frames_of(batch.inputs, len(batch))
        boxes, labels = batch.targets["boxes"], batch.targets["labels"]
        return [
            draw_frame(points, limits, drawn_objects(places, numbers, self.classes))
            for points, places, numbers in zip(frames, boxes, labels, strict=True)
        ]

    # --- inference ---

    @override
    def sources(self, source: str) -> list[Path]:
        return point_sources(source)

    @override
    def load(self, path: Path) -> Sample:
        return Sample(str(path), read_points(path, self.points_preparation))


TASK = PointPillarsTask
