"""From an instance segmentation network's outputs to objects with masks at the photo's size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.geometry.boxes import LetterboxTransform, letterbox_transform
from tao_like.runtime.geometry.outlines import Point, mask_rings
from tao_like.runtime.geometry.pasting import (
    Photo,
    mask_box,
    mask_of_runs,
    mask_runs,
    pasted_mask,
    spread_mask,
)
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction, PredictionReader
from tao_like.runtime.predictions.boxes import MEANINGS, Detection, Selection, read_detections
from tao_like.runtime.predictions.detections import Detections, check_finite, score_limits, stated_selection
from tao_like.runtime.predictions.segments import SegmentRule, segment_masks, stated_rule

SHAPES = "box_masks"
"""Meaning of an output (N, K, M, M): of each box the probabilities that its cells belong to the object."""
NAMES = {**MEANINGS.final, "masks": SHAPES}
"""Name of each output, to its meaning."""
INPUT_SHAPES = "input_masks"
"""Meaning of an output (N, K, h, w): of each object the probabilities of the whole input's cells."""
INPUT_NAMES = {**MEANINGS.final, "masks": INPUT_SHAPES}
"""As ``NAMES``, of networks whose masks lie on the input and not within boxes."""
DEFAULT_MASK_THRESHOLD = 0.5
SIDE = 28


@dataclass(frozen=True)
class Instances(Detections):
    """What a network finds in one photo, by descending score.

    Attributes:
        shapes: (M, side, side) probabilities within each box, in rows from above; or (M, h, w) of the input.
        frame: width and height of the input where shapes are of the whole input.
    """

    shapes: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, SIDE, SIDE), np.float32))
    frame: tuple[int, int] | None = None

    def take(self, which: npt.NDArray[Any]) -> Instances:
        """Those of the objects that an index or a mask of booleans names."""
        return replace(
            self,
            boxes=self.boxes[which],
            scores=self.scores[which],
            labels=self.labels[which],
            shapes=self.shapes[which],
        )


@dataclass(frozen=True)
class Instance(Detection):
    """One object that was found.

    Attributes:
        runs: its mask at the photo's size as COCO's uncompressed runs: down the columns, first how many
            pixels are outside.
        width: of the photo, in pixels.
        height: likewise.
    """

    runs: tuple[int, ...]
    width: int
    height: int

    @property
    def mask(self) -> Photo:
        """(height, width), true where the object is."""
        return mask_of_runs(self.runs, (self.width, self.height))

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return sum(self.runs[1::2])

    @property
    def segmentation(self) -> dict[str, Any]:
        """The mask as COCO writes it: ``size`` (height, width) and ``counts``."""
        return {"size": [self.height, self.width], "counts": list(self.runs)}

    def polygons(self) -> list[list[Point]]:
        """The rings around its parts and holes, along the pixels; see `mask_rings`."""
        return mask_rings(self.mask)


@dataclass(frozen=True, kw_only=True)
class InstancesPrediction(Prediction):
    """What an instance segmentation network says about one image.

    Attributes:
        detections: what was found, by descending score.
    """

    detections: tuple[Instance, ...] = ()


def read_instances(
    outputs: Outputs, selection: Selection, preprocessing: ImagePreprocessing
) -> list[Instances]:
    """Splits a batch's outputs into the objects of each image.

    Args:
        outputs: by meaning.
        selection: of the model.
        preprocessing: of the model; it tells the size of the input.

    Raises:
        BundleError: an output holds values that are not finite.
    """
    meaning = SHAPES if SHAPES in outputs else INPUT_SHAPES
    frame = None if meaning == SHAPES else (preprocessing.width, preprocessing.height)
    shapes = outputs[meaning]
    check_finite(shapes)
    boxes = read_detections({key: value for key, value in outputs.items() if key != meaning}, selection)
    return [
        Instances(found.boxes, found.scores, found.labels, shapes=of_image[: len(found)], frame=frame)
        for found, of_image in zip(boxes, shapes, strict=True)
    ]


def photo_masks(found: Instances, transform: LetterboxTransform, threshold: float) -> list[Photo]:
    """The mask of each object at the photo's size.

    Args:
        found: of one photo.
        transform: where the photo lies in the input.
        threshold: see `pasted_mask`.
    """
    size = (transform.width, transform.height)
    if found.frame is not None:
        return [mask >= threshold for mask in _spread(found, transform)]
    boxes = transform.to_image_plane(found.boxes)
    return [pasted_mask(shape, box, size, threshold) for shape, box in zip(found.shapes, boxes, strict=True)]


def _spread(found: Instances, transform: LetterboxTransform) -> Iterator[npt.NDArray[np.float64]]:
    """The probability of each pixel of the photo, (height, width), for one object after the other."""
    assert found.frame is not None, "masks within boxes are pasted"
    box = transform.to_image_plane(np.array([[0, 0, *found.frame]], np.float32))[0]
    for shape in found.shapes:
        yield spread_mask(shape, box, (transform.width, transform.height))


def photo_segments(
    found: Instances, transform: LetterboxTransform, rule: SegmentRule
) -> tuple[Instances, list[Photo]]:
    """The segments of a photo: at most one a pixel, and regions of a class joined; see `segment_masks`.

    Args:
        found: of one photo, with masks on the input.
        transform: where the photo lies in the input.
        rule: which objects become segments.

    Returns:
        Those of the objects that became segments, and the mask of each at the photo's size.
    """
    kept = found.take(found.scores > rule.score_threshold)
    size = (transform.width, transform.height)
    segments = segment_masks(lambda: _spread(kept, transform), kept.scores, kept.labels, size, rule)
    numbers = np.array([number for number, _ in segments], np.int64)
    return kept.take(numbers), [mask for _, mask in segments]


def with_mask_boxes(found: Instances, masks: Sequence[Photo], transform: LetterboxTransform) -> Instances:
    """Objects with the boxes around their masks: a network whose masks lie on the input finds no others."""
    if not len(found):
        return found
    boxes = np.array([mask_box(mask) for mask in masks], np.float32)
    return replace(found, boxes=transform.to_input(boxes))


def decide_instances(
    found: Instances,
    transform: LetterboxTransform,
    classes: Sequence[str],
    thresholds: Mapping[str, Any],
    mask_threshold: float,
    rule: SegmentRule | None = None,
) -> tuple[Instance, ...]:
    """The objects that reach the threshold of their class, on the original image.

    Args:
        found: of one image.
        transform: where the image lies in the input.
        classes: class names in the order of the numbers.
        thresholds: see `runtime.predictions.boxes.decide`.
        mask_threshold: see `pasted_mask`.
        rule: of segments, which then decides in place of both thresholds.

    Raises:
        BundleError: the thresholds do not fit.
    """
    if rule is not None:
        kept, masks = photo_segments(found, transform, rule)
    else:
        kept = found.take(found.scores >= score_limits(thresholds, len(classes))[found.labels])
        masks = photo_masks(kept, transform, mask_threshold)
    if kept.frame is not None:
        kept = with_mask_boxes(kept, masks, transform)
    boxes = transform.to_image(kept.boxes).tolist()
    return tuple(
        Instance(classes[label], score, tuple(box), mask_runs(mask), transform.width, transform.height)
        for label, score, box, mask in zip(
            kept.labels.tolist(), kept.scores.tolist(), boxes, masks, strict=True
        )
    )


def stated_mask_threshold(extra: Mapping[str, Any]) -> float:
    """The threshold of masks that a model's metadata states. Raises BundleError."""
    value = extra.get("mask_threshold", DEFAULT_MASK_THRESHOLD)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise BundleError(f"the model's metadata has mask_threshold {value!r}; it lies between 0 and 1.")
    return float(value)


class InstancesReader(PredictionReader):
    """Reads the predictions of such a network."""

    kind = InstancesPrediction

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without classes, with odd outputs or thresholds, or that crops images."""
        if not metadata.classes:
            raise BundleError("the model's metadata lists no classes.")
        given = set(metadata.outputs.values())
        if given not in (set(NAMES.values()), set(INPUT_NAMES.values())):
            raise BundleError(
                f"the meanings of the model's outputs are {sorted(given)}; an instance segmentation model's "
                f"are {', '.join(NAMES.values())} (or {INPUT_SHAPES})."
            )
        score_limits(metadata.thresholds, len(metadata.classes))
        stated_selection(metadata.extra, Selection)
        stated_mask_threshold(metadata.extra)
        rule = stated_rule(metadata.extra, len(metadata.classes))
        if rule is not None and INPUT_SHAPES not in given:
            raise BundleError("the model's metadata states segments, which masks within boxes do not make.")
        letterbox_transform(1, 1, ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing))

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[InstancesPrediction]:
        """Return the objects of each image."""
        preprocessing = ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing)
        by_meaning = {meaning: outputs[name] for name, meaning in metadata.outputs.items()}
        found = read_instances(by_meaning, stated_selection(metadata.extra, Selection), preprocessing)
        rule = stated_rule(metadata.extra, len(metadata.classes))
        threshold = stated_mask_threshold(metadata.extra)
        return [
            InstancesPrediction(
                source=source,
                detections=decide_instances(
                    of_image,
                    letterbox_transform(*size, preprocessing),
                    metadata.classes,
                    metadata.thresholds,
                    threshold,
                    rule,
                ),
            )
            for of_image, source, size in zip(found, sources, sizes, strict=True)
        ]
