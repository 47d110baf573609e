"""Retrieval and classes by words, in cases small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tao_like.tasks.clip.data.dataset import PairTarget
from tao_like.tasks.clip.metrics.pairs import PairMetrics
from tao_like.tasks.clip.metrics.retrieval import (
    class_ranks,
    effective_rank,
    find_ranks,
    linear_probe,
    mean_pairwise_cosine,
)
from tao_like.tasks.clip.zero_shot import ClassTexts, PairPrediction


def directions(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane."""
    angles = np.radians(np.array(degrees))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_ranks_are_counted_among_distinct_captions_and_all_images() -> None:
    # Two images have caption 0; the last image is nearest to the wrong caption.
    images, texts = directions(0, 10, 90, 20), directions(0, 0, 90, 180)
    ranks = find_ranks(images, texts, np.array([0, 0, 1, 2]))
    assert ranks.of_images.tolist() == [0, 0, 0, 2]
    assert ranks.of_texts.tolist() == [0, 0, 0, 1]
    assert ranks.recall(1) == (0.75, 0.75)
    assert ranks.recall(3) == (1.0, 1.0)
    assert ranks.recall(1, np.array([False, False, True, True])) == (0.5, 0.5)


def test_a_collapsed_model_finds_nothing() -> None:
    same = np.ones((4, 2), np.float32) / np.sqrt(2).astype(np.float32)
    ranks = find_ranks(same, same, np.arange(4))
    assert ranks.recall(1) == (0.0, 0.0)
    assert class_ranks(same @ same.T, np.arange(4)).tolist() == [3, 3, 3, 3]


def test_spread_of_embeddings() -> None:
    assert mean_pairwise_cosine(directions(0, 90)) == pytest.approx(0, abs=1e-6)
    assert mean_pairwise_cosine(directions(0, 60, 120)) == pytest.approx((0.5 + 0.5 - 0.5) / 3, abs=1e-6)
    # Along one line, and evenly in two directions.
    assert effective_rank(np.array([[1.0, 0], [-1, 0], [2, 0]], np.float32)) == pytest.approx(1)
    assert effective_rank(directions(0, 90, 180, 270)) == pytest.approx(2)


def test_a_linear_probe_is_as_good_as_scikit_learn_s_ridge() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 90)
    images = (np.eye(4)[labels] + draw.normal(0, 0.6, (90, 4))).astype(np.float32)
    found = linear_probe(images[:60], labels[:60], images[60:], labels[60:], 3)
    expected = linear.RidgeClassifier(alpha=1.0).fit(images[:60], labels[:60]).score(images[60:], labels[60:])
    assert found == pytest.approx(expected, abs=0.1)


def metrics(groups: list[str] | None = None) -> PairMetrics:
    """Three classes at 0, 90 and 180 degrees."""
    classes = ClassTexts(["red", "green", "blue"], ["a {}"], directions(0, 90, 180))
    return PairMetrics([1, 5], classes, groups or [""])


def test_classes_are_found_by_their_words_and_groups_are_told_apart() -> None:
    score = metrics(["seen", "new"])
    images, texts = directions(10, 80, 100, 170), directions(0, 90, 180, 90)
    targets = [PairTarget(0, 0, 0), PairTarget(1, 1, 0), PairTarget(2, 2, 1), PairTarget(-1, 1, 1)]
    predictions = [PairPrediction(i, t) for i, t in zip(images, texts, strict=True)]
    score.update(range(4), predictions, targets)
    report = score.compute()
    assert report.values["zero_shot_top1"] == pytest.approx(2 / 3)
    assert report.values.keys() == score.reported().keys()
    assert report.details["worst_confusions"] == ["blue taken for green: 1 times"]
    groups = report.details["groups"]
    assert (groups["seen"]["zero_shot_top1"], groups["new"]["zero_shot_top1"]) == (1.0, 0.0)
    assert (groups["seen"]["samples"], groups["new"]["samples"]) == (2, 2)
    assert set(report.draw()) == {"similarity", "confusion"}


def test_parts_join_to_the_same_report() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(2, 12, 2)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    whole, parts = metrics(), [metrics(), metrics()]
    for number, (image, text) in enumerate(zip(*vectors, strict=True)):
        target = PairTarget(number % 3, number, 0)
        for one in (whole, parts[number % 2]):
            one.update([number], [PairPrediction(image, text, image @ one.classes.embeddings.T)], [target])
    parts[0].join(parts[1])
    assert parts[0].compute().values == pytest.approx(whole.compute().values)
    assert {index for index, _ in parts[0].worst(12)} == set(range(12))


def test_a_collapse_is_said_with_a_remedy() -> None:
    score = metrics()
    image = directions(3)[0]
    score.update(range(10), [PairPrediction(image, image)] * 10, [PairTarget(0, n, 0) for n in range(10)])
    (note,) = score.compute().notes
    assert "collapsed" in note
    assert "train.optim.lr" in note
    healthy = metrics()
    spread = directions(*range(0, 360, 36))
    healthy.update(
        range(10), [PairPrediction(one, one) for one in spread], [PairTarget(0, n, 0) for n in range(10)]
    )
    assert healthy.compute().notes == []
