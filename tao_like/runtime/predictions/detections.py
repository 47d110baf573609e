"""What detectors on images and in space have in common: boxes with scores and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs

DEFAULT_THRESHOLD = 0.3
"""Score from which on a box is shown, where no thresholds are given."""
SelectionT = TypeVar("SelectionT")


@dataclass(frozen=True)
class Detections:
    """What a network finds in one sample, by descending score.

    Attributes:
        boxes: (M, 4) left, top, right, bottom in pixels of the network's input, or (M, 7) in space.
        scores: (M,).
        labels: (M,) class numbers.
        masks: (M, height, width) bool, in pixels of the network's input; None for a network without.
        track_ids: (M,) numbers that follow an object through a video; None where nothing is tracked.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_] | None = None
    track_ids: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Meanings:
    """What the outputs of a kind of detector mean, in the words of its metadata.

    Attributes:
        boxes: those that stay after suppression, best first.
        scores: of each of these.
        labels: class number of each.
        count: how many of them are detections; the others are filled up with 0.
        all_boxes: every box that the network proposes, before suppression.
        all_scores: of each of these for each class.
    """

    boxes: str
    scores: str
    labels: str
    count: str
    all_boxes: str
    all_scores: str

    @property
    def final(self) -> dict[str, str]:
        """Name of each output of a file with suppression, to its meaning."""
        return {
            "boxes": self.boxes,
            "scores": self.scores,
            "labels": self.labels,
            "num_detections": self.count,
        }

    @property
    def raw(self) -> dict[str, str]:
        """The same of a file without."""
        return {"boxes": self.all_boxes, "class_scores": self.all_scores}

    def of_names(self, outputs: Outputs) -> Outputs:
        """Outputs by name as outputs by meaning."""
        meanings = self.final if "num_detections" in outputs else self.raw
        return {meanings[name]: value for name, value in outputs.items()}


def split_boxes(
    outputs: Outputs,
    meanings: Meanings,
    select: Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], Detections],
) -> list[Detections]:
    """Splits a batch's outputs into the boxes of each sample.

    Args:
        outputs: by meaning, the batch in front; of a file with suppression or of one without.
        meanings: of this kind of detector.
        select: suppression for the latter: all boxes and class scores of a sample to those that stay.

    Raises:
        BundleError: an output holds values that are not finite.
    """
    if meanings.all_boxes in outputs:
        boxes, scores = outputs[meanings.all_boxes], outputs[meanings.all_scores]
        check_finite(boxes, scores)
        return [select(each, score) for each, score in zip(boxes, scores, strict=True)]
    boxes, scores = outputs[meanings.boxes], outputs[meanings.scores]
    check_finite(boxes, scores)
    labels, counts = outputs[meanings.labels].astype(np.int64), outputs[meanings.count].tolist()
    return [
        Detections(*(values[:count] for values in of_sample))
        for *of_sample, count in zip(boxes, scores, labels, counts, strict=True)
    ]


def check_finite(*arrays: npt.NDArray[Any]) -> None:
    """Raises a BundleError where a value is NaN or infinite."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise BundleError("the model gave boxes or scores that are not numbers (NaN or infinite).")


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


def check_metadata(metadata: ModelMetadata, meanings: Meanings, name: str) -> None:
    """Refuse metadata without classes, or with odd outputs or thresholds.

    Args:
        metadata: of a detector's file.
        meanings: that its outputs may have.
        name: what kind of detector it is, with its article, for messages.

    Raises:
        BundleError: it says what is odd.
    """
    if not metadata.classes:
        raise BundleError("the model's metadata lists no classes.")
    given = set(metadata.outputs.values())
    final, raw = meanings.final.values(), meanings.raw.values()
    if given not in (set(final), set(raw)):
        raise BundleError(
            f"the meanings of the model's outputs are {sorted(given)}; {name}'s are "
            f"{', '.join(final)} or {', '.join(raw)}."
        )
    score_limits(metadata.thresholds, len(metadata.classes))


def stated_selection(extra: Mapping[str, Any], kind: type[SelectionT]) -> SelectionT:
    """The selection that a model's metadata states under ``selection``. Raises BundleError.

    Args:
        extra: what the metadata holds beside its fixed fields.
        kind: a dataclass; what is not stated has its defaults.
    """
    values = extra.get("selection", {})
    try:
        return kind(**values)
    except TypeError as error:
        raise BundleError(f"the model's metadata has an odd selection {values!r}: {error}.") from error
