"""Finding images whose label is likely wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Rows whose similarities to all others are held at a time.
_BLOCK = 1024
# An image is suspected when at most this fraction of its neighbours has its label ...
_OWN_FRACTION = 0.1
# ... and at least this fraction agrees on another.
_OTHER_FRACTION = 0.7
_FEWEST_NEIGHBOURS = 3


@dataclass(frozen=True)
class Suspect:
    """An image that its neighbours disagree with.

    Attributes:
        index: Its index in what was given.
        label: The label that it has.
        suggested: The label that most of its neighbours have.
        agreement: Fraction of the neighbours with the suggested label, 0.7 to 1.
    """

    index: int
    label: str
    suggested: str
    agreement: float


def likely_wrong_labels(
    features: npt.NDArray[np.floating], labels: Sequence[str], *, neighbours: int = 10
) -> list[Suspect]:
    """Images whose nearest neighbours nearly all have one other label, by descending score.

    Each image is compared with all others (leave one out) by the cosine of their features. Of a class with
    few images fewer neighbours count, as no more can agree; a class of three images or fewer is left out.

    Args:
        features: (N, D), any finite numbers: what a network gives below its head.
        labels: N labels.
        neighbours: How many neighbours vote, at least 3.

    Raises:
        ValueError: Shapes do not fit, or features are not finite.
    """
    values = np.asarray(features, dtype=np.float32)
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(
            f"features have shape {values.shape} for {len(labels)} labels; (N, D) and N are needed"
        )
    if neighbours < _FEWEST_NEIGHBOURS:
        raise ValueError(f"neighbours={neighbours} is too few; at least {_FEWEST_NEIGHBOURS} must vote")
    if not np.isfinite(values).all():
        raise ValueError("features hold values that are not finite")
    if not len(values):
        return []
    classes, own = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    voters = np.minimum(neighbours, np.bincount(own)[own] - 1)
    voters[voters < _FEWEST_NEIGHBOURS] = 0
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)

    suspects: list[tuple[float, float, Suspect]] = []
    for start in range(0, len(unit), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(unit)))
        fractions, closeness = _votes(unit, own, voters, block, len(classes))
        rows = np.arange(len(fractions))
        own_fraction = fractions[rows, own[block]]
        top = fractions.argmax(axis=1)
        for row in np.flatnonzero(
            (own_fraction <= _OWN_FRACTION) & (fractions[rows, top] >= _OTHER_FRACTION)
        ):
            index = start + int(row)
            fraction = float(fractions[row, top[row]])
            suspect = Suspect(index, str(classes[own[index]]), str(classes[top[row]]), fraction)
            suspects.append((fraction - float(own_fraction[row]), float(closeness[row]), suspect))
    suspects.sort(key=lambda entry: (-entry[0], -entry[1], entry[2].index))
    return [suspect for *_, suspect in suspects]


def _votes(
    unit: npt.NDArray[np.float32],
    own: npt.NDArray[np.intp],
    voters: npt.NDArray[np.intp],
    block: slice,
    num_classes: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """For the rows of a block: fraction of each class among the voters (R, C), and their mean cosine (R,)."""
    similarity = unit[block] @ unit.T
    rows = np.arange(similarity.shape[0])
    similarity[rows, rows + block.start] = -np.inf
    most = min(int(voters.max()), similarity.shape[1] - 1)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :most]
    counts = voters[block]
    votes = np.arange(most) < counts[:, None]
    fractions = np.zeros((len(rows), num_classes))
    np.add.at(fractions, (np.repeat(rows, most), own[nearest].ravel()), votes.ravel())
    closeness = np.where(votes, np.take_along_axis(similarity, nearest, axis=1), 0.0).sum(axis=1)
    divisor = np.maximum(counts, 1)
    return fractions / divisor[:, None], closeness / divisor
