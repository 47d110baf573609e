"""Detections on images and in space as rows of a table and as boxes to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from tao_like.plots.classes import class_color


class Detected(Protocol):
    """An object that was found, on an image or in space."""

    @property
    def label(self) -> str:
        """Its class."""

    @property
    def score(self) -> float:
        """From 0 to 1."""

    @property
    def box(self) -> tuple[float, ...]:
        """Where it is, as its kind of box says it."""


class DrawnBox(NamedTuple):
    """A box with a word to it.

    Attributes:
        box: (4,) left, top, right, bottom in pixels of the image, or (7,) in space.
        text: beside it; empty: none.
        color: of its lines.
    """

    box: Sequence[float]
    text: str
    color: str


def prediction_row(
    key: str, detections: Sequence[Detected], classes: Sequence[str], target: int | None
) -> dict[str, Any]:
    """The row of a sample: how many objects were found, how sure, and how many of each class.

    Args:
        key: name of the sample.
        detections: what was found.
        classes: all class names, in order.
        target: how many objects there are; None: that is not known.
    """
    row: dict[str, Any] = {
        "path": key,
        "objects": len(detections),
        "best_score": f"{max((found.score for found in detections), default=0.0):.6f}",
    }
    if target is not None:
        row["truth"] = target
    counts = dict.fromkeys(classes, 0)
    for found in detections:
        counts[found.label] += 1
    return row | {f"n_{name}": count for name, count in counts.items()}


def drawn_predictions(detections: Sequence[Detected], classes: Sequence[str]) -> list[DrawnBox]:
    """Detections, by descending score, as boxes with class and score; the surest is drawn last."""
    numbers = {name: number for number, name in enumerate(classes)}
    return [
        DrawnBox(found.box, f"{found.label} {found.score:.2f}", class_color(numbers[found.label]))
        for found in reversed(detections)
    ]


def drawn_objects(boxes: Tensor, labels: Tensor, classes: Sequence[str]) -> list[DrawnBox]:
    """Targets of a training batch as boxes with their class.

    Args:
        boxes: (G, 4) or (G, 7).
        labels: (G,) class numbers.
        classes: class names in the order of the numbers.
    """
    return [
        DrawnBox(box, classes[label], class_color(label))
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True)
    ]
