"""From probabilities to labels: every rule by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tao_like.errors import BundleError
from tao_like.runtime.predictions.classes import ClassPrediction, decide

CLASSES = ["ant", "bee", "cat"]


def test_single_label_takes_the_likeliest() -> None:
    prediction = decide(np.array([0.2, 0.5, 0.3], np.float32), CLASSES, {}, multi_label=False, source="a.jpg")
    assert (prediction.label, prediction.labels, prediction.rejected, prediction.source) == (
        "bee",
        ("bee",),
        False,
        "a.jpg",
    )
    assert prediction.score == 0.5
    assert prediction.probabilities == pytest.approx({"ant": 0.2, "bee": 0.5, "cat": 0.3})
    assert [name for name, _ in prediction.top(2)] == ["bee", "cat"]
    assert len(prediction.top(10)) == 3


def test_of_equal_probabilities_the_first_class_wins() -> None:
    prediction = decide([0.2, 0.4, 0.4], CLASSES, {}, multi_label=False)
    assert prediction.label == "bee"
    assert [name for name, _ in prediction.top(3)] == ["bee", "cat", "ant"]


@pytest.mark.parametrize(("threshold", "label"), [(0.49, "bee"), (0.5, "bee"), (0.51, None)])
def test_rejection(threshold: float, label: str | None) -> None:
    prediction = decide([0.2, 0.5, 0.3], CLASSES, {"kind": "reject", "value": threshold}, multi_label=False)
    assert prediction.label == label
    assert prediction.rejected == (label is None)
    assert prediction.labels == (() if label is None else (label,))
    assert prediction.score == 0.5


def test_multi_label_takes_each_class_from_a_half_on_likeliest_first() -> None:
    prediction = decide([0.5, 0.9, 0.49], CLASSES, {}, multi_label=True)
    assert (prediction.label, prediction.labels, prediction.rejected) == ("bee", ("bee", "ant"), False)
    nothing = decide([0.1, 0.2, 0.3], CLASSES, {}, multi_label=True)
    assert (nothing.label, nothing.labels, nothing.rejected, nothing.score) == (None, (), False, 0.3)


def test_multi_label_with_a_threshold_for_each_class() -> None:
    thresholds = {"kind": "per_class", "values": [0.95, 0.2, 0.4]}
    prediction = decide([0.9, 0.3, 0.4], CLASSES, thresholds, multi_label=True)
    assert prediction.labels == ("cat", "bee")
    assert prediction.label == "cat"
    assert prediction.score == 0.9


@pytest.mark.parametrize(
    ("thresholds", "multi_label", "rule"),
    [
        ({"kind": "reject", "value": 0.5}, True, "multi-label"),
        ({"kind": "per_class", "values": [0.5] * 3}, False, "single-label"),
        ({"kind": "per_class", "values": [0.5] * 2}, True, "list of 3 numbers"),
        ({"kind": "per_class", "values": 0.5}, True, "list of 3 numbers"),
        ({"kind": "per_class", "values": [0.5, 0.5, 1.5]}, True, "between 0 and 1"),
        ({"kind": "reject", "value": "0.5"}, False, "between 0 and 1"),
        ({"kind": "reject", "value": float("nan")}, False, "between 0 and 1"),
        ({"kind": "reject"}, False, "do not fit"),
    ],
)
def test_thresholds_that_do_not_fit(thresholds: dict[str, Any], multi_label: bool, rule: str) -> None:
    with pytest.raises(BundleError, match=rule):
        decide([0.2, 0.5, 0.3], CLASSES, thresholds, multi_label)


def test_probabilities_that_are_none() -> None:
    with pytest.raises(BundleError, match="NaN"):
        decide([0.2, float("nan"), 0.3], CLASSES, {}, multi_label=False)
    with pytest.raises(BundleError, match="2 probabilities for 3 classes"):
        decide([0.2, 0.8], CLASSES, {}, multi_label=False)


def test_an_answer_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ClassPrediction().label = "x"  # type: ignore[misc]
