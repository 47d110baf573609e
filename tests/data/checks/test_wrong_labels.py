"""Finding likely wrong labels."""

from __future__ import annotations

import numpy as np
import pytest

from tao_like.data.checks.wrong_labels import likely_wrong_labels


def clusters(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, list[str]]:
    draw = np.random.default_rng(seed)
    centers = draw.normal(size=(len(sizes), 32)) * 3
    features = np.concatenate(
        [center + draw.normal(size=(n, 32)) for center, n in zip(centers, sizes, strict=True)]
    )
    return features, [f"c{c}" for c, n in enumerate(sizes) for _ in range(n)]


def test_flipped_labels_are_found_and_the_right_ones_suggested() -> None:
    features, labels = clusters([60, 60, 60])
    target = list(labels)
    flipped = {3: "c1", 70: "c2", 130: "c0", 179: "c1"}
    for index, label in flipped.items():
        labels[index] = label
    suspects = likely_wrong_labels(features, labels)
    assert {suspect.index: suspect.label for suspect in suspects} == flipped
    assert all(suspect.suggested == target[suspect.index] for suspect in suspects)


def test_right_labels_are_left_alone_also_in_small_classes() -> None:
    features, labels = clusters([200, 6, 4])
    assert likely_wrong_labels(features, labels) == []


def test_it_agrees_with_a_vote_counted_one_by_one() -> None:
    draw = np.random.default_rng(1)
    features, labels = clusters([30, 30, 30], seed=4)
    features += draw.normal(size=features.shape) * 3
    for index in draw.choice(90, 20, replace=False):
        labels[index] = f"c{draw.integers(3)}"
    expected = {}
    for i in range(90):
        cosines = [
            features[i] @ features[j] / np.linalg.norm(features[i]) / np.linalg.norm(features[j])
            if j != i
            else -2
            for j in range(90)
        ]
        votes = [labels[j] for j in np.argsort(cosines)[::-1][:10]]
        best = max(set(votes), key=votes.count)
        if votes.count(labels[i]) <= 1 and votes.count(best) >= 7:
            expected[i] = (best, votes.count(best) / 10)
    suspects = likely_wrong_labels(features, labels, neighbours=10)
    assert {s.index: (s.suggested, s.agreement) for s in suspects} == expected
    assert len(expected) > 3
    agreements = [s.agreement for s in suspects if labels.count(s.label)]
    assert agreements[0] == max(agreements)


def test_more_rows_than_are_compared_at_a_time() -> None:
    features, labels = clusters([800, 800])
    labels[1500] = "c0"
    assert [suspect.index for suspect in likely_wrong_labels(features, labels)] == [1500]


def test_nothing_to_compare() -> None:
    assert likely_wrong_labels(np.zeros((0, 4)), []) == []
    assert likely_wrong_labels(np.zeros((3, 4)), ["a", "b", "a"]) == []


@pytest.mark.parametrize(
    ("features", "labels", "complaint"),
    [
        (np.zeros(4), ["a"] * 4, r"\(N, D\)"),
        (np.zeros((4, 2)), ["a"] * 3, "3 labels"),
        (np.full((4, 2), np.nan), ["a"] * 4, "not finite"),
    ],
)
def test_what_does_not_fit(features: np.ndarray, labels: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        likely_wrong_labels(features, labels)
