"""From a classifier's probabilities to labels: the one rule, for evaluation, inference and runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.metadata import ModelMetadata
from tao_like.runtime.predictions.base import Outputs, Prediction, PredictionReader

SINGLE_LABEL = "class_probabilities"
"""Meaning of an output (N, classes) whose rows sum to 1: exactly one class applies (softmax)."""

MULTI_LABEL = "label_probabilities"
"""Meaning of an output (N, classes) whose values stand alone: any number of classes applies (sigmoid)."""

DEFAULT_THRESHOLD = 0.5
"""Multi-label: the probability from which on a class applies, where no thresholds are given."""


@dataclass(frozen=True, kw_only=True)
class ClassPrediction(Prediction):
    """What a classifier says about one sample.

    Attributes:
        label: the class; multi-label: the likeliest of the classes that apply. None if rejected, or
            if no class applies.
        score: the highest probability, 0 to 1, whether or not its class is accepted.
        labels: every class that applies, likeliest first; single-label: ``label`` alone or nothing.
        rejected: single-label: the highest probability is below the rejection threshold.
        probabilities: the probability of every class, in the order of the classes.
    """

    label: str | None = None
    score: float = 0.0
    labels: tuple[str, ...] = ()
    rejected: bool = False
    probabilities: Mapping[str, float] = field(default_factory=dict)

    def top(self, k: int) -> list[tuple[str, float]]:
        """Return the ``k`` likeliest classes with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:k]


def decide(
    probabilities: npt.ArrayLike,
    classes: Sequence[str],
    thresholds: Mapping[str, Any],
    multi_label: bool,
    *,
    source: str | None = None,
) -> ClassPrediction:
    """Turn the probabilities of one sample into its prediction. Of equal probabilities the first class wins.

    Args:
        probabilities: one value a class, 0 to 1.
        classes: the class names, in the same order.
        thresholds: ``{"kind": "reject", "value": t}`` (single-label: rejected if the highest probability
            is below t), ``{"kind": "per_class", "values": [t, ...]}`` (multi-label: a class applies from
            its t on), or empty: the likeliest class; multi-label: each class from 0.5 on.
        multi_label: whether any number of classes applies.
        source: the file that the prediction is about.

    Raises:
        BundleError: the thresholds are not for this kind of classifier or number of classes, or the
            probabilities are not one a class or not finite.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.shape != (len(classes),):
        raise BundleError(f"the model gave {values.size} probabilities for {len(classes)} classes.")
    if not np.isfinite(values).all():
        raise BundleError("the model gave probabilities that are not numbers (NaN or infinite).")
    limits = _limits(thresholds, len(classes), multi_label)
    ranked = np.argsort(-values, kind="stable")
    candidates = ranked if multi_label else ranked[:1]
    labels = tuple(classes[index] for index in candidates if values[index] >= limits[index])
    return ClassPrediction(
        label=labels[0] if labels else None,
        score=float(values[ranked[0]]),
        labels=labels,
        rejected=not multi_label and not labels,
        probabilities=dict(zip(classes, values.tolist(), strict=True)),
        source=source,
    )


class ClassesReader(PredictionReader):
    """Reads a classifier's predictions."""

    kind = ClassPrediction

    def check(self, metadata: ModelMetadata) -> None:
        """Refuse metadata without classes, without one output of probabilities, or with odd thresholds."""
        if not metadata.classes:
            raise BundleError("the model's metadata lists no classes.")
        _, multi_label = _probabilities_output(metadata)
        _limits(metadata.thresholds, len(metadata.classes), multi_label)

    def read(
        self,
        outputs: Outputs,
        metadata: ModelMetadata,
        sources: Sequence[str | None],
        sizes: Sequence[tuple[int, int]],
    ) -> list[ClassPrediction]:
        """Return one prediction for each row of the probabilities."""
        del sizes
        name, multi_label = _probabilities_output(metadata)
        return [
            decide(row, metadata.classes, metadata.thresholds, multi_label, source=source)
            for row, source in zip(outputs[name], sources, strict=True)
        ]


def _probabilities_output(metadata: ModelMetadata) -> tuple[str, bool]:
    """Name of the output that holds the probabilities, and whether it is multi-label."""
    found = [
        (name, meaning == MULTI_LABEL)
        for name, meaning in metadata.outputs.items()
        if meaning in (SINGLE_LABEL, MULTI_LABEL)
    ]
    if len(found) != 1:
        raise BundleError(
            f"{len(found)} of the model's outputs are probabilities; a classifier has exactly one, "
            f"with the meaning {SINGLE_LABEL!r} or {MULTI_LABEL!r}."
        )
    return found[0]


def _limits(thresholds: Mapping[str, Any], class_count: int, multi_label: bool) -> npt.NDArray[np.float64]:
    """The probability that each class must reach."""
    if not thresholds:
        return np.full(class_count, DEFAULT_THRESHOLD if multi_label else -np.inf)
    kind = "per_class" if multi_label else "reject"
    key = "values" if multi_label else "value"
    if set(thresholds) != {"kind", key} or thresholds["kind"] != kind:
        raise BundleError(
            f"the thresholds {dict(thresholds)} do not fit: a {'multi' if multi_label else 'single'}-label "
            f'classifier takes {{"kind": "{kind}", "{key}": ...}} or nothing.'
        )
    given = thresholds[key] if multi_label else [thresholds[key]] * class_count
    if not isinstance(given, (list, tuple)) or len(given) != class_count:
        raise BundleError(f"thresholds.values must be a list of {class_count} numbers, one a class.")
    if not all(isinstance(value, (int, float)) and 0 <= value <= 1 for value in given):
        raise BundleError(f"thresholds.{key} is {thresholds[key]}; thresholds lie between 0 and 1.")
    return np.asarray(given, dtype=np.float64)


ClassificationAnswer = ClassPrediction
"""The name of `ClassPrediction` in version 0.1."""
ClassificationReader = ClassesReader
