"""Predictions of instance segmentation: objects with masks as rows, images and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image
from typing_extensions import override

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Outputs, Sample
from tao_like.data.masks.runs import decode_runs, encode_mask
from tao_like.runtime.geometry.boxes import box_iou, letterbox_transform
from tao_like.runtime.predictions.instances import (
    INPUT_NAMES,
    NAMES,
    Instance,
    Instances,
    decide_instances,
    photo_masks,
    photo_segments,
    read_instances,
    with_mask_boxes,
)
from tao_like.runtime.predictions.segments import SegmentRule
from tao_like.tasks.common.boxes.box_agreement import SAME_BOX
from tao_like.tasks.common.boxes.box_predictions import drawn_objects, drawn_predictions
from tao_like.tasks.detection.predictions import BoxPredictions, image_size
from tao_like.tasks.instance_segmentation.data.data import InstanceData
from tao_like.tasks.instance_segmentation.data.dataset import InstanceTarget, InstanceTargets
from tao_like.tasks.instance_segmentation.draw import draw_instances
from tao_like.tasks.instance_segmentation.panoptic_files import (
    PANOPTIC_FOLDER,
    PANOPTIC_JSON,
    SegmentedResult,
    panoptic_files,
    panoptic_image,
)
from tao_like.tasks.instance_segmentation.spec import Spec

if TYPE_CHECKING:
    from tao_like.tasks.detection.spec import Spec as DetectionSpec


class InstancePredictions(BoxPredictions):
    """All objects of an image: boxes in pixels of the input, and a mask within each.

    Args:
        data: names the classes and says how an image becomes an input.
        thresholds: the stored score thresholds; empty: the default ones.
        spec: of the task.
    """

    kind = "instances"

    def __init__(self, data: InstanceData, thresholds: dict[str, Any], spec: Spec) -> None:
        # The blocks that are read there are the same in both tasks.
        super().__init__(data, thresholds, cast("DetectionSpec", spec))
        self.mask_threshold = spec.model.postprocess.mask_threshold
        self.names = INPUT_NAMES if spec.model.arch == "mask2former" else NAMES
        """Name of each of the network's outputs, to its meaning."""
        self._model = spec.model
        self._has_segments = False

    @property
    def rule(self) -> SegmentRule | None:
        """How objects become segments; None: they may cover each other."""
        model, names = self._model, self.data.labels.names
        if not model.makes_segments:
            return None
        regions = model.region_numbers(names)
        return SegmentRule(model.object_mask_threshold, model.overlap_threshold, frozenset(regions))

    @override
    def from_outputs(self, outputs: Outputs) -> list[Instances]:  # type: ignore[override]
        by_meaning = {self.names[name]: value for name, value in outputs.items()}
        return read_instances(by_meaning, self.selection, self.data.preprocessing)

    @override
    def difference(self, expected: Outputs, actual: Outputs) -> float:
        """The largest difference of a score, a box, or a pixel of the masks of one object."""
        pairs = list(zip(self.from_outputs(expected), self.from_outputs(actual), strict=True))
        if self.names is INPUT_NAMES:
            return max((of_queries(*pair, self.selection.score_threshold) for pair in pairs), default=0.0)
        masks = max((_of_masks(one, other) for one, other in pairs), default=0.0)
        return max(super().difference(expected, actual), masks)

    @override
    def decided(self, sample: Sample, prediction: Instances) -> tuple[Instance, ...]:  # type: ignore[override]
        transform = letterbox_transform(*image_size(sample), self.data.preprocessing)
        names = self.data.labels.names
        return decide_instances(prediction, transform, names, self.thresholds, self.mask_threshold, self.rule)

    @override
    def record(self, sample: Sample, prediction: Instances) -> SegmentedResult:  # type: ignore[override]
        transform = letterbox_transform(*image_size(sample), self.data.preprocessing)
        masks = photo_masks(prediction, transform, self.mask_threshold)
        if prediction.frame is not None:
            prediction = with_mask_boxes(prediction, masks, transform)
        runs = [encode_mask(mask) for mask in masks]
        result = SegmentedResult(**vars(super().record(sample, prediction)) | {"runs": runs})
        if self.rule is None or sample.data is None:
            return result  # an evaluation has rows and images
        self._has_segments = True
        segments, seen = photo_segments(prediction, transform, self.rule)
        return replace(result, panoptic=panoptic_image(segments, seen, (transform.width, transform.height)))

    @override
    def files(self, records: Sequence[SegmentedResult]) -> dict[str, str | bytes]:  # type: ignore[override]
        found: dict[str, str | bytes] = {**super().files(records)}
        if self._has_segments and self.rule is not None:
            found |= panoptic_files(records, self.data.labels.names, self.rule.regions)
        return found

    @override
    def notes(self) -> list[str]:
        said = f"Segments in COCO's panoptic form: {PANOPTIC_JSON} and the PNG files in {PANOPTIC_FOLDER}"
        return [*super().notes(), *([said] if self._has_segments else [])]

    @override
    def draw(  # type: ignore[override]
        self, sample: Sample, prediction: Instances, heatmap: np.ndarray | None = None
    ) -> Image.Image:
        del heatmap
        decided = self.decided(sample, prediction)
        drawn = drawn_predictions(decided, self.data.labels.names)
        masks = [found.mask for found in reversed(decided)]
        return draw_instances(sample.data, drawn, masks, _masks_of(sample.target))

    @override
    def draw_batch(self, batch: Batch[InstanceTargets]) -> list[Image.Image]:  # type: ignore[override]
        images = batch.input.permute(0, 2, 3, 1).clamp(0, 255).byte().cpu().numpy()
        targets = batch.targets
        return [
            draw_instances(
                Image.fromarray(pixels),
                drawn_objects(boxes, labels, self.data.labels.names),
                list(masks.cpu().numpy() > 0),
            )
            for pixels, boxes, labels, masks in zip(
                images, targets.boxes, targets.labels, targets.masks, strict=True
            )
        ]


def of_queries(one: Instances, other: Instances, threshold: float) -> float:
    """The largest difference of a score or of a cell of a mask, of objects that are matched by their masks.

    The boxes are those around the masks and say nothing more. Slots have no order: each object looks for the
    free one of its class that is nearest by score and mask. One without a partner counts by how far its score
    lies above the threshold.
    """
    free = np.ones(len(other), np.bool_)
    worst = 0.0
    for number in range(len(one)):
        choice = np.flatnonzero(free & (other.labels == one.labels[number]))
        if not len(choice):
            worst = max(worst, float(one.scores[number]) - threshold)
            continue
        masks = np.abs(other.shapes[choice] - one.shapes[number]).max(axis=(1, 2), initial=0.0)
        apart = np.maximum(masks, np.abs(other.scores[choice] - one.scores[number]))
        nearest = int(apart.argmin())
        free[choice[nearest]] = False
        worst = max(worst, float(apart[nearest]))
    return max([worst, *(float(score) - threshold for score in other.scores[free])])


def _masks_of(target: InstanceTarget | None) -> Sequence[np.ndarray]:
    """The masks of the objects on an image, without crowds."""
    if target is None:
        return []
    masks = target.masks if target.masks is not None else [decode_runs(runs) for runs in target.runs]
    return [mask > 0 for mask, crowd in zip(masks, target.arrays.crowd.tolist(), strict=True) if not crowd]


def _of_masks(one: Instances, other: Instances) -> float:
    """The largest difference of masks of the same object."""
    if not (len(one) and len(other)):
        return 0.0
    ious = box_iou(one.boxes, other.boxes) * (one.labels[:, None] == other.labels[None, :])
    match = ious.argmax(axis=1)
    same = ious.max(axis=1) >= SAME_BOX
    return float(np.abs(one.shapes[same] - other.shapes[match[same]]).max(initial=0.0))
