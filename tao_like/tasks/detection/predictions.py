"""Predictions of detection: boxes as rows, images and files."""

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
from tao_like.runtime.geometry.boxes import letterbox_transform
from tao_like.runtime.predictions.boxes import MEANINGS, Detection, Selection, decide, read_detections
from tao_like.runtime.predictions.detections import Detections, score_limits
from tao_like.tasks.common.boxes.box_agreement import largest_difference
from tao_like.tasks.common.boxes.box_predictions import drawn_objects, drawn_predictions, prediction_row
from tao_like.tasks.detection.data.data import DetectionData
from tao_like.tasks.detection.data.dataset import DetectionTargets, GroundTruth
from tao_like.tasks.detection.draw import draw_boxes
from tao_like.tasks.detection.metrics.agreement import comparison
from tao_like.tasks.detection.prediction_files import ImageResult, coco_text, kitti_texts
from tao_like.tasks.detection.spec import Spec

ALL_BOXES = "detections.json"
THRESHOLDED_BOXES = "detections_thresholded.json"


class BoxPredictions(Predictions[Detections], WritesFiles):
    """All boxes of an image, in pixels of the input.

    Args:
        data: names the classes and says how an image becomes an input.
        thresholds: the stored score thresholds; empty: the default ones.
        spec: of the task.
    """

    kind = "boxes"

    def __init__(self, data: DetectionData, thresholds: dict[str, Any], spec: Spec) -> None:
        self.data = data
        self.thresholds = thresholds
        self._label_files = spec.inference.label_files
        settings = spec.model.postprocess
        self.selection = Selection(
            settings.score_threshold, settings.iou_threshold, settings.max_detections, settings.candidates
        )
        """Which of the network's boxes are kept."""

    @override
    def from_outputs(self, outputs: Outputs) -> list[Detections]:
        return read_detections(MEANINGS.of_names(outputs), self.selection)

    @override
    def targets(self, batch: Batch[DetectionTargets]) -> list[GroundTruth]:
        return batch.targets.ground_truth

    @override
    def difference(self, expected: Outputs, actual: Outputs) -> float:
        preprocessing = self.data.preprocessing
        by = comparison(self.selection, max(preprocessing.height, preprocessing.width))
        return largest_difference(self.from_outputs(expected), self.from_outputs(actual), by)

    def decided(self, sample: Sample, prediction: Detections) -> tuple[Detection, ...]:
        """What the runtime shows of a prediction."""
        transform = letterbox_transform(*image_size(sample), self.data.preprocessing)
        return decide(prediction, transform, self.data.labels.names, self.thresholds)

    @override
    def csv_row(self, sample: Sample, prediction: Detections) -> dict[str, Any]:
        objects = None if sample.target is None else int((~sample.target.arrays.crowd).sum())
        return prediction_row(sample.key, self.decided(sample, prediction), self.data.labels.names, objects)

    @override
    def record(self, sample: Sample, prediction: Detections) -> ImageResult:
        width, height = image_size(sample)
        boxes = letterbox_transform(width, height, self.data.preprocessing).to_image(prediction.boxes)
        limits = score_limits(self.thresholds, len(self.data.labels))
        found = Detections(boxes, prediction.scores, prediction.labels)
        return ImageResult(sample.key, width, height, found, found.scores >= limits[found.labels])

    @override
    def files(self, records: Sequence[ImageResult]) -> dict[str, str]:
        classes = self.data.labels.names
        files = {
            ALL_BOXES: coco_text(records, classes, thresholded=False),
            THRESHOLDED_BOXES: coco_text(records, classes, thresholded=True),
        }
        if self._label_files == "kitti":
            files |= kitti_texts(records, classes)
        return files

    @override
    def notes(self) -> list[str]:
        return [f"All boxes: {ALL_BOXES}; those that reach the threshold of their class: {THRESHOLDED_BOXES}"]

    @override
    def draw(self, sample: Sample, prediction: Detections, heatmap: np.ndarray | None = None) -> Image.Image:
        del heatmap
        drawn = drawn_predictions(self.decided(sample, prediction), self.data.labels.names)
        targets = [] if sample.target is None else sample.target.arrays.boxes.tolist()
        return draw_boxes(sample.data, drawn, targets)

    @override
    def draw_batch(self, batch: Batch[DetectionTargets]) -> list[Image.Image]:
        images = batch.input.permute(0, 2, 3, 1).clamp(0, 255).byte().cpu().numpy()
        return [
            draw_boxes(Image.fromarray(pixels), drawn_objects(boxes, labels, self.data.labels.names))
            for pixels, boxes, labels in zip(images, batch.targets.boxes, batch.targets.labels, strict=True)
        ]


def image_size(sample: Sample) -> tuple[int, int]:
    """Width and height of the image, which need not be at hand where there is a target."""
    if sample.data is None:
        return sample.target.width, sample.target.height
    width, height = sample.data.size
    return width, height
