"""Predictions of pointpillars: from a graph's outputs to boxes in space, rows, label files and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.capabilities import WritesFiles
from tao_like.contract.predictions import Predictions
from tao_like.contract.sample import Outputs, Sample
from tao_like.runtime.inputs.image import read_image
from tao_like.runtime.predictions.boxes3d import MEANINGS, Detection3d, Selection3d, decide, read_detections
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.common.boxes.box_agreement import largest_difference
from tao_like.tasks.common.boxes.box_predictions import drawn_objects, drawn_predictions, prediction_row
from tao_like.tasks.pointpillars.data.dataset import FrameTarget, FrameTargets
from tao_like.tasks.pointpillars.data.frame_data import FrameData
from tao_like.tasks.pointpillars.draw import draw_frame, draw_on_camera, stacked
from tao_like.tasks.pointpillars.metrics.agreement import comparison
from tao_like.tasks.pointpillars.points_input import split_frames
from tao_like.tasks.pointpillars.prediction_files import FrameResult, label_texts
from tao_like.tasks.pointpillars.spec import Spec


class FramePredictions(Predictions[Detections], WritesFiles):
    """Boxes of a frame.

    Args:
        data: its labels name the classes, and its range is drawn.
        thresholds: the stored thresholds of the scores; empty: the default rule.
        spec: of the task.
    """

    kind = "boxes3d"

    def __init__(self, data: FrameData, thresholds: dict[str, Any], spec: Spec) -> None:
        self.data = data
        self.thresholds = thresholds
        self.spec = spec

    @property
    def selection(self) -> Selection3d:
        """Which of the network's boxes are predictions."""
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
    def from_outputs(self, outputs: Outputs) -> list[Detections]:
        return read_detections(MEANINGS.of_names(outputs), self.selection)

    @override
    def targets(self, batch: Batch[FrameTargets]) -> list[FrameTarget]:
        return batch.targets.frames

    @override
    def difference(self, expected: Outputs, actual: Outputs) -> float:
        pair = self.from_outputs(expected), self.from_outputs(actual)
        return largest_difference(*pair, comparison(self.selection))

    def decided(self, prediction: Detections) -> tuple[Detection3d, ...]:
        """The boxes that reach their threshold: the stored one, or that of ``inference.viz_conf_thresh``."""
        classes, limit = self.data.labels.names, self.spec.inference.viz_conf_thresh
        thresholds = self.thresholds
        if limit is not None:
            thresholds = {"kind": "per_class", "values": [limit] * len(classes)}
        return decide(prediction, classes, thresholds)

    @override
    def csv_row(self, sample: Sample, prediction: Detections) -> dict[str, Any]:
        target: FrameTarget | None = sample.target
        objects = None if target is None else len(target.labels)
        return prediction_row(sample.key, self.decided(prediction), self.data.labels.names, objects)

    @override
    def record(self, sample: Sample, prediction: Detections) -> FrameResult:
        calibration = None if sample.target is None else sample.target.calibration
        return FrameResult(sample.key, self.decided(prediction), calibration)

    @override
    def files(self, records: Sequence[FrameResult]) -> dict[str, str]:
        return label_texts(records)

    @override
    def draw(self, sample: Sample, prediction: Detections, heatmap: np.ndarray | None = None) -> Image.Image:
        del heatmap
        drawn = drawn_predictions(self.decided(prediction), self.data.labels.names)
        limits = self.data.preprocessing.point_cloud_range
        target: FrameTarget | None = sample.target
        if target is None:
            return draw_frame(sample.data, limits, drawn)
        above = draw_frame(sample.data, limits, drawn, target.boxes)
        if target.image is None or target.calibration is None:
            return above
        seen = draw_on_camera(read_image(target.image), target.calibration, drawn, target.boxes)
        return stacked(seen, above)

    @override
    def draw_batch(self, batch: Batch[FrameTargets]) -> list[Image.Image]:
        limits = self.data.preprocessing.point_cloud_range
        frames = split_frames(batch.input, len(batch))
        return [
            draw_frame(points, limits, drawn_objects(boxes, labels, self.data.labels.names))
            for points, boxes, labels in zip(frames, batch.targets.boxes, batch.targets.labels, strict=True)
        ]
