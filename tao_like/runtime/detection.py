"""From a detector's outputs to boxes on the original picture: the one rule, for inference and runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.answer import Answer, Outputs
from tao_like.runtime.boxes import Placement, keep_best, placement
from tao_like.runtime.image import ImagePreparation
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.tiles import Group, Tiling, join

BOXES = "boxes_xyxy"
"""Meaning of an output (N, K, 4): left, top, right, bottom in pixels of the input, best first."""
SCORES = "box_scores"
"""Meaning of an output (N, K): score of each box, 0 to 1."""
LABELS = "box_labels"
"""Meaning of an output (N, K): class number of each box."""
COUNT = "box_count"
"""Meaning of an output (N,): how many of the K boxes are detections; the others are filled up with 0."""
ALL_BOXES = "all_boxes_xyxy"
"""Meaning of an output (N, A, 4): every box that the network proposes, before non-maximum suppression."""
ALL_SCORES = "all_box_scores"
"""Meaning of an output (N, A, classes): score of each of these boxes for each class."""

FINAL = (BOXES, SCORES, LABELS, COUNT)
RAW = (ALL_BOXES, ALL_SCORES)
DEFAULT_THRESHOLD = 0.3
"""Score from which on a box is shown, where no thresholds are given."""


@dataclass(frozen=True)
class Detection:
    """One object that was found.

    Attributes:
        label: its class.
        score: 0 to 1.
        box: left, top, right, bottom in pixels of the original picture.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class DetectionAnswer(Answer):
    """What a detector says about one picture.

    Attributes:
        detections: what was found, surest first.
    """

    detections: tuple[Detection, ...] = ()


@dataclass(frozen=True)
class FoundBoxes:
    """All boxes that a network gives for one picture, in pixels of its input, best first.

    Attributes:
        boxes: (M, 4).
        scores: (M,).
        labels: (M,) class numbers.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Selection:
    """Which of a network's boxes are kept.

    Attributes:
        score_threshold: boxes up to this score are dropped.
        iou_threshold: non-maximum suppression drops a box that overlaps a better one by more.
        limit: most boxes of a picture.
        candidates: most boxes of a picture that suppression looks at, the best ones.
    """

    score_threshold: float = 0.01
    iou_threshold: float = 0.65
    limit: int = 100
    candidates: int = 1000


def found_boxes(outputs: Outputs, selection: Selection) -> list[FoundBoxes]:
    """Splits a batch's outputs into the boxes of each picture.

    Args:
        outputs: by meaning: `FINAL`, or `RAW`, to which suppression is applied here.
        selection: for `RAW`.

    Raises:
        BundleError: an output holds values that are not finite.
    """
    if ALL_BOXES in outputs:
        boxes, scores = outputs[ALL_BOXES], outputs[ALL_SCORES]
        check_finite(boxes, scores)
        return [select(each, score, selection) for each, score in zip(boxes, scores, strict=True)]
    check_finite(outputs[BOXES], outputs[SCORES])
    return [
        FoundBoxes(boxes[:count], scores[:count], labels[:count].astype(np.int64))
        for boxes, scores, labels, count in zip(
            outputs[BOXES], outputs[SCORES], outputs[LABELS], outputs[COUNT].tolist(), strict=True
        )
    ]


def select(
    boxes: npt.NDArray[np.float32], class_scores: npt.NDArray[np.float32], selection: Selection
) -> FoundBoxes:
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
    return FoundBoxes(boxes[kept], best[kept], labels[kept].astype(np.int64))


def check_finite(*arrays: npt.NDArray[Any]) -> None:
    """Raises a BundleError where a value is NaN or infinite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise BundleError("the model gave boxes or scores that are not numbers (NaN or infinite).")


def joined_boxes(
    found: Sequence[FoundBoxes], size: tuple[int, int], preparation: ImagePreparation, tiling: Tiling
) -> FoundBoxes:
    """The boxes of a picture from those of its tiles, as if its input had been the whole picture.

    Args:
        found: of each of the picture's tiles, in pixels of the tile's input.
        size: width and height of the picture.
        preparation: how a tile became the input.
        tiling: how the picture was cut.
    """
    tiles = tiling.tiles(*size)
    groups = []
    for tile, boxes in zip(tiles, found, strict=True):
        place = placement(tile.right - tile.left, tile.bottom - tile.top, preparation)
        corner = np.array([tile.left, tile.top] * 2, np.float32)
        groups.append(Group(place.to_picture(boxes.boxes) + corner, boxes.scores, boxes.labels))
    whole = join(groups, tiles, tiling, size)
    return FoundBoxes(placement(*size, preparation).to_input(whole.boxes), whole.scores, whole.labels)


def decide(
    found: FoundBoxes,
    place: Placement,
    classes: Sequence[str],
    thresholds: Mapping[str, Any],
) -> tuple[Detection, ...]:
    """The boxes that reach the threshold of their class, on the original picture.

    Args:
        found: of one picture.
        place: where the picture lies in the input.
        classes: class names in the order of the numbers.
        thresholds: ``{"kind": "per_class", "values": [t, ...]}``, or empty: 0.3 for each.

    Raises:
        BundleError: the thresholds do not fit.
    """
    limits = score_limits(thresholds, len(classes))
    boxes = place.to_picture(found.boxes)
    return tuple(
        Detection(classes[label], float(score), (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        for box, score, label in zip(boxes, found.scores, found.labels, strict=True)
        if score >= limits[label]
    )


def score_limits(thresholds: Mapping[str, Any], class_count: int) -> npt.NDArray[np.float64]:
    """The score that a box of each class must reach. Raises BundleError."""
    if not thresholds:
        return np.full(class_count, DEFAULT_THRESHOLD)
    if set(thresholds) != {"kind", "values"} or thresholds["kind"] != "per_class":
        raise BundleError(
            f'the thresholds {dict(thresholds)} do not fit: a detector takes {{"kind": "per_class", '
            '"values": [...]} or nothing.'
        )
    values = thresholds["values"]
    if not isinstance(values, (list, tuple)) or len(values) != class_count:
        raise BundleError(f"thresholds.values must be a list of {class_count} numbers, one a class.")
    if not all(isinstance(value, (int, float)) and 0 <= value <= 1 for value in values):
        raise BundleError(f"thresholds.values is {values}; thresholds lie between 0 and 1.")
    return np.asarray(values, np.float64)


class DetectionReader:
    """Reads a detector's answers; see `tao_like.runtime.answer.AnswerReader`."""

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without classes, with odd outputs or thresholds, or with a cropping preparation."""
        if not metadata.classes:
            raise BundleError("the model's metadata lists no classes.")
        meanings = set(metadata.outputs.values())
        if meanings not in (set(FINAL), set(RAW)):
            raise BundleError(
                f"the meanings of the model's outputs are {sorted(meanings)}; a detector's are "
                f"{', '.join(FINAL)} or {', '.join(RAW)}."
            )
        score_limits(metadata.thresholds, len(metadata.classes))
        selection_of(metadata.extra)
        Tiling.of(metadata.extra)
        placement(1, 1, ImagePreparation.from_dict(metadata.preparation))

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[DetectionAnswer]:
        """Return the detections of each picture."""
        preparation = ImagePreparation.from_dict(metadata.preparation)
        by_meaning = {meaning: outputs[name] for name, meaning in metadata.outputs.items()}
        found = found_boxes(by_meaning, selection_of(metadata.extra))
        if (tiling := Tiling.of(metadata.extra)) is not None:
            parts = iter(found)
            counts = [len(tiling.tiles(*size)) for size in sizes]
            found = [
                joined_boxes(list(islice(parts, count)), size, preparation, tiling)
                for count, size in zip(counts, sizes, strict=True)
            ]
        return [
            DetectionAnswer(
                source=source,
                detections=decide(
                    boxes, placement(*size, preparation), metadata.classes, metadata.thresholds
                ),
            )
            for boxes, source, size in zip(found, sources, sizes, strict=True)
        ]

    def failed(self, source: str | None, error: str) -> DetectionAnswer:
        """Return an answer without detections."""
        return DetectionAnswer(source=source, error=error)


def selection_of(extra: Mapping[str, Any]) -> Selection:
    """The selection that a model's metadata states under ``selection``. Raises BundleError."""
    values = extra.get("selection", {})
    try:
        return Selection(**values)
    except TypeError as error:
        raise BundleError(f"the model's metadata has an odd selection {values!r}: {error}.") from error
