"""Metrics of classification against counting by hand, scikit-learn and brute force."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tao_like.contract.metrics import Metrics
from tao_like.tasks.common.classes.class_metrics import ClassMetrics
from tao_like.tasks.common.classes.class_scores import ClassScores, best_f1_threshold
from tao_like.tasks.common.classes.multi_label_metrics import MultiLabelMetrics


def scored(
    probabilities: np.ndarray,
    targets: np.ndarray,
    *,
    topk: tuple[int, ...] = (1, 2),
    multi_label: bool = False,
    thresholds: dict[str, Any] | None = None,
) -> Metrics:
    """Metrics that have seen these predictions, in batches of two."""
    names = [f"class {number}" for number in range(probabilities.shape[1])]
    metrics: Metrics = ClassMetrics(names, list(topk), thresholds or {})
    if multi_label:
        metrics = MultiLabelMetrics(names, thresholds or {})
    for start in range(0, len(targets), 2):
        rows = slice(start, start + 2)
        metrics.update(range(start, min(start + 2, len(targets))), probabilities[rows], targets[rows])
    return metrics


def random_predictions(count: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Softmax of random logits that lean towards the truth, and the targets."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, num_classes, count)
    logits = draw.normal(size=(count, num_classes)) + 1.5 * np.eye(num_classes)[targets]
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32), targets


def calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int) -> float:
    """Expected calibration error by its definition: bins (a, b] of equal width (Naeini et al. 2015)."""
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = (confidences > low) & (confidences <= high) | ((number == 0) & (confidences == 0))
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
    return total


def test_a_case_that_can_be_counted_by_hand() -> None:
    probabilities = np.array(
        [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.5, 0.1, 0.4], [0.1, 0.3, 0.6]], np.float32
    )
    figures = scored(probabilities, np.array([0, 1, 1, 2, 2])).compute().values
    assert figures["accuracy"] == pytest.approx(3 / 5)
    assert figures["top2_accuracy"] == pytest.approx(1.0)
    assert figures["precision"] == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert figures["recall"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert figures["f1"] == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_single_label_figures_are_those_of_scikit_learn(seed: int) -> None:
    probabilities, targets = random_predictions(157, 7, seed)
    metrics = scored(probabilities, targets, topk=(1, 3, 5, 50))
    report, predicted = metrics.compute(), probabilities.argmax(axis=1)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        targets, predicted, labels=range(7), zero_division=0
    )
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(targets, predicted),
        "top3_accuracy": sklearn_metrics.top_k_accuracy_score(targets, probabilities, k=3, labels=range(7)),
        "top5_accuracy": sklearn_metrics.top_k_accuracy_score(targets, probabilities, k=5, labels=range(7)),
        "precision": precision.mean(),
        "recall": recall.mean(),
        "f1": f1.mean(),
        "calibration_error": calibration_error(probabilities.max(axis=1), predicted == targets, 15),
    }
    assert report.values == pytest.approx(expected, abs=1e-6)
    details = report.details
    per_class = details["per_class"]
    assert [row["f1"] for row in per_class.values()] == pytest.approx(f1)
    assert [row["precision"] for row in per_class.values()] == pytest.approx(precision)
    assert [row["recall"] for row in per_class.values()] == pytest.approx(recall)
    assert [row["samples"] for row in per_class.values()] == support.tolist()
    matrix = sklearn_metrics.confusion_matrix(targets, predicted, labels=range(7))
    assert details["confusion_matrix"] == matrix.tolist()


def test_a_class_without_samples_counts_as_scikit_learn_counts_it() -> None:
    """Precision, recall and F1 of a class that is neither true nor predicted; macro averages leave it out."""
    probabilities, targets = random_predictions(40, 3, 0)
    probabilities = np.concatenate([probabilities, np.zeros((40, 1), np.float32)], axis=1)
    figures, predicted = scored(probabilities, targets).compute().values, probabilities.argmax(axis=1)
    expected = sklearn_metrics.f1_score(targets, predicted, average="macro", zero_division=0)
    assert figures["f1"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("thresholds", [{}, {"kind": "per_class", "values": [0.2, 0.5, 0.7, 0.4]}])
def test_multi_label_figures_are_those_of_scikit_learn(thresholds: dict[str, Any]) -> None:
    draw = np.random.default_rng(5)
    probabilities = draw.random((83, 4)).astype(np.float32)
    targets = (draw.random((83, 4)) < 0.3 + 0.4 * probabilities).astype(np.float32)
    metrics = scored(probabilities, targets, multi_label=True, thresholds=thresholds)
    predicted = probabilities >= np.array(thresholds.get("values", [0.5] * 4), np.float32)
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(targets, predicted)
    report = metrics.compute()
    figures = report.values
    expected = {
        "accuracy": (predicted == targets).mean(),
        "exact_match": sklearn_metrics.accuracy_score(targets, predicted),
        "mean_average_precision": sklearn_metrics.average_precision_score(targets, probabilities),
        "precision": precision.mean(),
        "recall": recall.mean(),
        "f1": f1.mean(),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert [row["f1"] for row in report.details["per_class"].values()] == pytest.approx(f1)


def test_multi_label_calibration_is_about_each_yes_or_no() -> None:
    """Every label is a bet on 'yes': bins of its probability, and the fraction of 'yes' in each."""
    probabilities = np.array([[0.9, 0.2], [0.9, 0.2], [0.9, 0.2], [0.9, 0.2]], np.float32)
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.float32)
    figures = scored(probabilities, targets, multi_label=True).compute().values
    expected = 0.5 * abs(0.9 - 0.75) + 0.5 * abs(0.2 - 0.25)
    assert figures["calibration_error"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_parts_that_are_joined_come_to_what_the_whole_comes_to(multi_label: bool) -> None:
    probabilities, targets = random_predictions(40, 5, 1)
    if multi_label:
        targets = (np.random.default_rng(2).random((40, 5)) < 0.4).astype(np.float32)
    whole = scored(probabilities, targets, multi_label=multi_label)
    first, second = (
        scored(probabilities[half], targets[half], multi_label=multi_label)
        for half in (slice(0, 13), slice(13, 40))
    )
    first.join(pickle.loads(pickle.dumps(second)))
    one, other = first.compute(), whole.compute()
    assert first.count == 40
    assert one.values == pytest.approx(other.values, abs=1e-9)
    assert (one.details, one.thresholds) == (other.details, other.thresholds)


def test_the_worst_answers_come_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.02, 0.98]], np.float32)
    assert worst(scored(probabilities, np.array([0, 1, 1, 0]))) == [3, 1, 2, 0]
    targets = np.array([[1, 0], [1, 1], [1, 0], [1, 1]], np.float32)
    assert worst(scored(probabilities, targets, multi_label=True)) == [3, 1, 2, 0]


def worst(metrics: Metrics) -> list[int]:
    """The samples' places, the worst first."""
    return [number for number, _ in metrics.worst(10)]


def test_of_many_wrong_ones_the_worst_are_kept() -> None:
    probabilities, targets = random_predictions(500, 4, 3)
    margins = probabilities[np.arange(500), targets] - np.where(
        np.eye(4, dtype=bool)[targets], -1, probabilities
    ).max(axis=1)
    assert worst(scored(probabilities, targets)) == np.argsort(margins, kind="stable")[:10].tolist()


def f1_at(cut: float, probabilities: np.ndarray, targets: np.ndarray) -> float:
    """F1 of one class where ``probabilities >= cut`` are told as yes."""
    told = probabilities >= cut
    hits = int((told & (targets > 0)).sum())
    return 2 * hits / max(1, int(told.sum()) + int(targets.sum()))


def predictions_of(probabilities: np.ndarray, targets: np.ndarray) -> ClassScores:
    return ClassScores.ordered(probabilities, targets > 0, int(targets.sum()))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([n / 20 for n in range(21)]), st.booleans()), min_size=1, max_size=25)
)
def test_no_cut_has_a_better_f1_than_the_best(samples: list[tuple[float, bool]]) -> None:
    probabilities = np.array([value for value, _ in samples], np.float32)
    targets = np.array([float(target) for _, target in samples], np.float32)
    found = best_f1_threshold(predictions_of(probabilities, targets))
    assert 0 <= found <= 1
    if targets.any():
        best = max(f1_at(cut, probabilities, targets) for cut in np.arange(0, 1.01, 0.025))
        assert f1_at(found, probabilities, targets) == pytest.approx(best)
    else:
        assert found == 0.5


def test_the_best_cut_lies_between_two_probabilities() -> None:
    predictions = predictions_of(np.array([0.3, 0.9, 0.1, 0.8]), np.array([0, 1, 0, 1]))
    assert best_f1_threshold(predictions) == pytest.approx(0.55)


def rejection(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The threshold of rejection that suits these predictions."""
    return float(scored(probabilities, targets).compute().thresholds["value"])


def test_rejection_is_worth_it_only_below_its_threshold() -> None:
    """Wrong at 0.4 and 0.45, right from 0.6 on: rejecting both wrong ones costs no right one."""
    best = np.array([0.4, 0.45, 0.6, 0.9])
    probabilities = np.stack([best, 1 - best], axis=1)
    probabilities[:2, 1] = 0.1
    assert 0.45 < rejection(probabilities, np.array([1, 1, 0, 0])) <= 0.6


@pytest.mark.parametrize("seed", range(5))
def test_no_rejection_threshold_gains_more(seed: int) -> None:
    probabilities, targets = random_predictions(60, 4, seed)
    best, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets

    def gain(cut: float) -> int:
        rejected = best < cut
        return int((rejected & ~right).sum()) - int((rejected & right).sum())

    found = rejection(probabilities, targets)
    assert gain(found) == max(gain(cut / 100) for cut in range(101)) >= 0


def test_all_right_means_nothing_is_rejected() -> None:
    assert rejection(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 1])) == 0.0


def test_the_fraction_of_rejected_answers_is_told() -> None:
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.4, 0.6]], np.float32)
    metrics = scored(probabilities, np.array([0, 0, 1, 1]), thresholds={"kind": "reject", "value": 0.58})
    assert metrics.compute().details["rejected_share"] == 0.25
