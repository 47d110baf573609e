"""How good the predictions of each class are: precision over recall, and both and F1 over the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.plots.charts import MOST_NAMED, Line, Panel, draw_panels
from tao_like.plots.palette import INK
from tao_like.plots.palette import class_color as class_color
from tao_like.plots.text import shorten

THRESHOLDS = np.linspace(0, 1, 201)

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def draw_curves(curves: Mapping[str, tuple[Curve, tuple[float, float, float]]]) -> Image.Image:
    """Precision over recall of each class at IoU 0.5, with a dot at its threshold.

    Args:
        curves: class name to precision and recall of the first 1, 2, ... predictions, and precision, recall
            and F1 at the threshold.
    """
    lines = [
        Line(f"{shorten(name, 20)}  F1 {chosen[2]:.2f}", recall, precision, marked=(chosen[1], chosen[0]))
        for name, ((precision, recall), chosen) in curves.items()
    ]
    panel = Panel(
        "Precision over recall",
        lines,
        x_label="recall",
        y_label="precision",
        unit_square=True,
        note="dots: at the threshold",
    )
    return draw_panels([panel], size=(600, 560), legend="beside")


class ThresholdCurve(NamedTuple):
    """Precision, recall and F1 of a class at each of `THRESHOLDS`.

    Attributes:
        precision: (T,); not-a-number where nothing is predicted any more.
        recall: (T,).
        f1: (T,).
        chosen: the threshold that the class has.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    chosen: float


def threshold_curve(
    scores: npt.NDArray[Any], right: npt.NDArray[Any], objects: int, chosen: float
) -> ThresholdCurve:
    """What a class comes to when predictions count from a score on.

    Args:
        scores: (M,) of its predictions, in any order.
        right: (M,) whether each found an object, or a sample of the class.
        objects: how many there are.
        chosen: the threshold that the class has.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ordered = np.asarray(scores, np.float64)[order]
    hits = np.concatenate([[0], np.cumsum(np.asarray(right, bool)[order])])
    # How many scores are at least as large as each threshold.
    counted = np.searchsorted(-ordered, -THRESHOLDS, side="right")
    found = hits[counted].astype(np.float64)
    precision = np.where(counted > 0, found / np.maximum(counted, 1), np.nan)
    return ThresholdCurve(
        precision, found / max(objects, 1), 2 * found / np.maximum(counted + objects, 1), float(chosen)
    )


def classifier_curves(
    probabilities: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    names: Sequence[str],
    chosen: Sequence[float],
) -> dict[str, ThresholdCurve]:
    """The curve of each class of a classifier, for `draw_threshold_curves`.

    With one label a sample, a class is predicted where it is the likeliest and its probability reaches the
    threshold; with several, wherever its own probability does.

    Args:
        probabilities: (N, C).
        targets: (N,) class numbers, or (N, C) of 0 and 1 for several labels a sample.
        names: of the classes.
        chosen: the threshold of each class.
    """
    curves = {}
    for number, (name, threshold) in enumerate(zip(names, chosen, strict=True)):
        scores = probabilities[:, number]
        if targets.ndim == 1:
            true, predicted = targets == number, probabilities.argmax(axis=1) == number
        else:
            true, predicted = targets[:, number] > 0, np.ones(len(scores), bool)
        curves[name] = threshold_curve(scores[predicted], true[predicted], int(true.sum()), threshold)
    return curves


def draw_threshold_curves(curves: Mapping[str, ThresholdCurve]) -> Image.Image:
    """F1, precision and recall over the threshold: a line a class with a dot at its own, the mean in black.

    Args:
        curves: class name to its curve.
    """
    many = len(curves) > MOST_NAMED
    panels = []
    for title, field in (("F1", "f1"), ("Precision", "precision"), ("Recall", "recall")):
        lines = []
        if len(curves) > 1:
            means = _mean([getattr(curve, field) for curve in curves.values()])
            lines.append(Line("mean of the classes", THRESHOLDS, means, color=INK, width=2.8))
        for number, (name, curve) in enumerate(curves.items()):
            values = getattr(curve, field)
            at = float(values[np.abs(THRESHOLDS - curve.chosen).argmin()])
            marked = (curve.chosen, at) if np.isfinite(at) and not many else None
            color, width = class_color(number), 0.7 if many else 1.8
            lines.append(Line(name, THRESHOLDS, values, color=color, width=width, marked=marked))
        panels.append(Panel(f"{title} over the threshold", lines, x_label="threshold", unit_square=True))
    return draw_panels(panels, size=(400, 370 if len(curves) < 16 else 520), legend="beside")


def _mean(values: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """(T,): the mean of the classes that have a value; not-a-number where none has."""
    table = np.stack(values)
    there = np.isfinite(table)
    sums, counts = np.where(there, table, 0.0).sum(axis=0), there.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
