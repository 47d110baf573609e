"""Metrics of instance segmentation, on the masks and boxes that ship, at the size of the original images."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from tao_like.contract.metrics import Report
from tao_like.data.masks.runs import Runs, encode_mask
from tao_like.runtime.geometry.boxes import letterbox_transform
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.predictions.instances import (
    Instances,
    photo_masks,
    photo_segments,
    with_mask_boxes,
)
from tao_like.runtime.predictions.segments import SegmentRule
from tao_like.tasks.detection.metrics.coco import COCO_NAMES, MaskPairs, coco_metrics
from tao_like.tasks.detection.metrics.detection import DetectionMetrics, plain
from tao_like.tasks.instance_segmentation.data.dataset import InstanceTarget
from tao_like.tasks.instance_segmentation.metrics.panoptic import PANOPTIC_NAMES, PanopticQuality

MASK_NAMES = tuple(f"mask_{name}" for name in COCO_NAMES)
"""COCO's twelve metrics of masks; those of boxes have no word in front."""


class InstanceMetrics(DetectionMetrics):
    """Scores boxes as detection does, and masks by COCO's evaluation. Masks are kept as runs.

    Args:
        classes: class names in the order of the numbers.
        preprocessing: by which boxes of the input become boxes of the image.
        thresholds: the stored score thresholds; see ``runtime.predictions.detections``.
        mask_threshold: see ``runtime.geometry.pasting``.
        rule: of segments, which are then scored too; None: objects may cover each other.
    """

    def __init__(
        self,
        classes: list[str],
        preprocessing: ImagePreprocessing,
        thresholds: dict[str, Any],
        mask_threshold: float,
        rule: SegmentRule | None = None,
    ) -> None:
        super().__init__(classes, preprocessing, thresholds)
        self.mask_threshold = mask_threshold
        self.rule = rule
        self._panoptic = PanopticQuality(len(classes), rule.regions) if rule else None
        self._masks: list[list[Runs]] = []

    @override
    def reported(self) -> dict[str, bool]:
        segments = dict.fromkeys(PANOPTIC_NAMES if self.rule else (), True)
        return segments | dict.fromkeys(MASK_NAMES, True) | super().reported()

    @override
    def add(self, prediction: Instances, target: InstanceTarget) -> float:  # type: ignore[override]
        """As in detection: an image is the worse, the more objects are missed and boxes wrong."""
        transform = letterbox_transform(target.width, target.height, self.preprocessing)
        masks = photo_masks(prediction, transform, self.mask_threshold)
        self._masks.append([encode_mask(mask) for mask in masks])
        if prediction.frame is not None:
            prediction = with_mask_boxes(prediction, masks, transform)
        if self._panoptic and self.rule:
            segments, seen = photo_segments(prediction, transform, self.rule)
            self._panoptic.add(seen, segments.labels, target)
        return super().add(prediction, target)

    @override
    def merge(self, other: InstanceMetrics) -> None:  # type: ignore[override]
        super().merge(other)
        self._masks += other._masks
        if self._panoptic and other._panoptic:
            self._panoptic.merge(other._panoptic)

    @override
    def compute(self) -> Report:
        """COCO's twelve metrics of masks, and those of boxes."""
        report = super().compute()
        targets = [target.runs for target in self._targets if isinstance(target, InstanceTarget)]
        of_masks = coco_metrics(
            self._found, self._targets, len(self.classes), MaskPairs(self._masks, targets)
        )
        report.values = {f"mask_{name}": of_masks.totals[name] for name in COCO_NAMES} | report.values
        for number, name in enumerate(self.classes):
            row = report.details["per_class"][name]
            masks = {"mask_AP": plain(of_masks.ap[number]), "mask_AP50": plain(of_masks.ap50[number])}
            report.details["per_class"][name] = masks | row
        report.details["per_size_masks"] = of_masks.by_size
        if self._panoptic:
            totals, by_class = self._panoptic.compute()
            report.values = totals | report.values
            for name, of_class in zip(self.classes, by_class, strict=True):
                values = {key: plain(value) for key, value in of_class.items()}
                report.details["per_class"][name] = values | report.details["per_class"][name]
        return report
