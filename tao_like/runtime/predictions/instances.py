"""From an instance segmentation network's outputs to objects with masks at the photo's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.geometry.boxes import LetterboxTransform, letterbox_transform
from tao_like.runtime.geometry.outlines import Point, mask_rings
from tao_like.runtime.geometry.pasting import Photo, mask_of_runs, mask_runs, pasted_mask
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction
from tao_like.runtime.predictions.boxes import MEANINGS, Detection, Selection, read_detections
from tao_like.runtime.predictions.detections import Detections, check_finite, score_limits, stated_selection

SHAPES = "box_masks"
"""Meaning of an output (N, K, M, M): of each box the probabilities that its cells belong to the object."""
NAMES = {**MEANINGS.final, "masks": SHAPES}
"""Name of each output, to its meaning."""
DEFAULT_MASK_THRESHOLD = 0.5
SIDE = 28


@dataclass(frozen=True)
class Instances(Detections):
    """What a network finds in one photo, by descending score.

    Attributes:
        shapes: (M, side, side) probabilities within each box, in rows from above.
    """

    shapes: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, SIDE, SIDE), np.float32))


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


def read_instances(outputs: Outputs, selection: Selection) -> list[Instances]:
    """Splits a batch's outputs into the objects of each image.

    Args:
        outputs: by meaning.
        selection: of the model.

    Raises:
        BundleError: an output holds values that are not finite.
    """
    shapes = outputs[SHAPES]
    check_finite(shapes)
    boxes = read_detections({key: value for key, value in outputs.items() if key != SHAPES}, selection)
    return [
        Instances(found.boxes, found.scores, found.labels, shapes=of_image[: len(found)])
        for found, of_image in zip(boxes, shapes, strict=True)
    ]


def photo_masks(found: Instances, place: LetterboxTransform, threshold: float) -> list[Photo]:
    """The mask of each object at the photo's size.

    Args:
        found: of one photo.
        place: where the photo lies in the input.
        threshold: see `pasted_mask`.
    """
    size = (place.width, place.height)
    boxes = place.to_image_plane(found.boxes)
    return [pasted_mask(shape, box, size, threshold) for shape, box in zip(found.shapes, boxes, strict=True)]


def decide_instances(
    found: Instances,
    place: LetterboxTransform,
    classes: Sequence[str],
    thresholds: Mapping[str, Any],
    mask_threshold: float,
) -> tuple[Instance, ...]:
    """The objects that reach the threshold of their class, on the original image.

    Args:
        found: of one image.
        place: where the image lies in the input.
        classes: class names in the order of the numbers.
        thresholds: see `runtime.predictions.boxes.decide`.
        mask_threshold: see `pasted_mask`.

    Raises:
        BundleError: the thresholds do not fit.
    """
    shown = found.scores >= score_limits(thresholds, len(classes))[found.labels]
    kept = Instances(found.boxes[shown], found.scores[shown], found.labels[shown], shapes=found.shapes[shown])
    boxes = place.to_image(kept.boxes).tolist()
    masks = photo_masks(kept, place, mask_threshold)
    return tuple(
        Instance(classes[label], score, tuple(box), mask_runs(mask), place.width, place.height)
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


class InstancesReader:
    """Reads the predictions of such a network; see `runtime.predictions.base.PredictionReader`."""

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without classes, with odd outputs or thresholds, or that crops images."""
        if not metadata.classes:
            raise BundleError("the model's metadata lists no classes.")
        given = set(metadata.outputs.values())
        if given != set(NAMES.values()):
            raise BundleError(
                f"the meanings of the model's outputs are {sorted(given)}; an instance segmentation model's "
                f"are {', '.join(NAMES.values())}."
            )
        score_limits(metadata.thresholds, len(metadata.classes))
        stated_selection(metadata.extra, Selection)
        stated_mask_threshold(metadata.extra)
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
        found = read_instances(by_meaning, stated_selection(metadata.extra, Selection))
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
                ),
            )
            for of_image, source, size in zip(found, sources, sizes, strict=True)
        ]

    def failed(self, source: str | None, error: str) -> InstancesPrediction:
        """Return a prediction without objects."""
        return InstancesPrediction(source=source, error=error)
