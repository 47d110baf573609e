"""From a detector's outputs to boxes on the original image: the one rule, for inference and runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.runtime.geometry.boxes import LetterboxTransform, keep_best, letterbox_transform
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction, PredictionReader
from tao_like.runtime.predictions.detections import (
    Detections,
    Meanings,
    check_metadata,
    score_limits,
    split_boxes,
    stated_selection,
)
from tao_like.runtime.predictions.tiles import Group, Tiling, join

MEANINGS = Meanings(
    boxes="boxes_xyxy",
    scores="box_scores",
    labels="box_labels",
    count="box_count",
    all_boxes="all_boxes_xyxy",
    all_scores="all_box_scores",
)
"""Boxes (N, K, 4) are left, top, right, bottom in pixels of the input; scores and labels are (N, K)."""


@dataclass(frozen=True)
class Detection:
    """One object that was found.

    Attributes:
        label: its class.
        score: 0 to 1.
        box: left, top, right, bottom in pixels of the original image.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class BoxesPrediction(Prediction):
    """What a detector says about one image.

    Attributes:
        detections: what was found, by descending score.
    """

    detections: tuple[Detection, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Which of a network's boxes are kept.

    Attributes:
        score_threshold: boxes up to this score are dropped.
        iou_threshold: non-maximum suppression drops a box that overlaps a better one by more.
        limit: most boxes of an image.
        candidates: most boxes of an image that suppression looks at, the best ones.
    """

    score_threshold: float = 0.01
    iou_threshold: float = 0.65
    limit: int = 100
    candidates: int = 1000


def read_detections(outputs: Outputs, selection: Selection) -> list[Detections]:
    """Splits a batch's outputs into the boxes of each image.

    Args:
        outputs: by meaning; suppression is applied to those of a file without.
        selection: for these.

    Raises:
        BundleError: an output holds values that are not finite.
    """
    return split_boxes(outputs, MEANINGS, partial(select, selection=selection))


def select(
    boxes: npt.NDArray[np.float32], class_scores: npt.NDArray[np.float32], selection: Selection
) -> Detections:
    """Each box with its best class; the best of these after suppression.

    Args:
        boxes: (A, 4).
        class_scores: (A, classes).
        selection: what to keep.
    """
    best = class_scores.max(axis=1)
    labels = class_scores.argmax(axis=1)
    order = np.argsort(-best, kind="stable")[: selection.candidates]
    kept = order[
        keep_best(
            boxes[order],
            best[order],
            labels[order],
            iou_threshold=selection.iou_threshold,
            score_threshold=selection.score_threshold,
            limit=selection.limit,
        )
    ]
    return Detections(boxes[kept], best[kept], labels[kept].astype(np.int64))


def merge_detections(
    found: Sequence[Detections], size: tuple[int, int], preprocessing: ImagePreprocessing, tiling: Tiling
) -> Detections:
    """The boxes of an image from those of its tiles, as if its input had been the whole image.

    Args:
        found: of each of the image's tiles, in pixels of the tile's input.
        size: width and height of the image.
        preprocessing: how a tile became the input.
        tiling: how the image was cut.
    """
    tiles = tiling.tiles(*size)
    groups = []
    for tile, boxes in zip(tiles, found, strict=True):
        transform = letterbox_transform(tile.right - tile.left, tile.bottom - tile.top, preprocessing)
        corner = np.array([tile.left, tile.top] * 2, np.float32)
        groups.append(Group(transform.to_image(boxes.boxes) + corner, boxes.scores, boxes.labels))
    whole = join(groups, tiles, tiling, size)
    return Detections(
        letterbox_transform(*size, preprocessing).to_input(whole.boxes), whole.scores, whole.labels
    )


def decide(
    found: Detections,
    transform: LetterboxTransform,
    classes: Sequence[str],
    thresholds: Mapping[str, Any],
) -> tuple[Detection, ...]:
    """The boxes that reach the threshold of their class, on the original image.

    Args:
        found: of one image.
        transform: where the image lies in the input.
        classes: class names in the order of the numbers.
        thresholds: ``{"kind": "per_class", "values": [t, ...]}``, or empty: 0.3 for each.

    Raises:
        BundleError: the thresholds do not fit.
    """
    limits = score_limits(thresholds, len(classes))
    boxes = transform.to_image(found.boxes)
    return tuple(
        Detection(classes[label], float(score), (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        for box, score, label in zip(boxes, found.scores, found.labels, strict=True)
        if score >= limits[label]
    )


class BoxesReader(PredictionReader):
    """Reads a detector's predictions."""

    kind = BoxesPrediction

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without classes, with odd outputs or thresholds, or that crops images."""
        check_metadata(metadata, MEANINGS, "a detector")
        stated_selection(metadata.extra, Selection)
        Tiling.of(metadata.extra)
        letterbox_transform(1, 1, ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing))

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[BoxesPrediction]:
        """Return the detections of each image."""
        by_meaning = {meaning: outputs[name] for name, meaning in metadata.outputs.items()}
        found = read_detections(by_meaning, stated_selection(metadata.extra, Selection))
        return [
            _prediction(boxes, metadata, source, size)
            for boxes, source, size in zip(found, sources, sizes, strict=True)
        ]

    def read_tiles(
        self, outputs: Iterable[Outputs], metadata: ModelMetadata, source: str | None, size: tuple[int, int]
    ) -> BoxesPrediction:
        """Return the detections of an image that was seen tile by tile."""
        preprocessing = ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing)
        selection, tiling = stated_selection(metadata.extra, Selection), Tiling.of(metadata.extra)
        assert tiling is not None, "there are tiles"
        found = [
            boxes
            for part in outputs
            for boxes in read_detections(
                {meaning: part[name] for name, meaning in metadata.outputs.items()}, selection
            )
        ]
        return _prediction(merge_detections(found, size, preprocessing, tiling), metadata, source, size)


def _prediction(
    found: Detections, metadata: ModelMetadata, source: str | None, size: tuple[int, int]
) -> BoxesPrediction:
    preprocessing = ImagePreprocessing.from_dict(metadata.input_of("image").preprocessing)
    transform = letterbox_transform(*size, preprocessing)
    return BoxesPrediction(
        source=source, detections=decide(found, transform, metadata.classes, metadata.thresholds)
    )


DetectionAnswer = BoxesPrediction
"""The name of `BoxesPrediction` in version 0.1."""
DetectionReader = BoxesReader
