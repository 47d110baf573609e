"""Whether left and right make different classes: then a mirror image is of another class, or of none."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_PAIRS = (
    *(("left", "right"), ("lefthand", "righthand"), ("leftward", "rightward"), ("links", "rechts")),
    *(("gauche", "droite"), ("izquierda", "derecha"), ("clockwise", "counterclockwise"), ("cw", "ccw")),
)
_SIDES = frozenset(word for pair in _PAIRS for word in pair) | {"anticlockwise", "leftwards", "rightwards"}
_SHORT = {"l": "r", "r": "l"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
FRACTION = 0.6
"""Part of a class that must be told by its nearest neighbor, and of its mirror images that another class
must take, for the two to be each other's mirror image."""


def sided_classes(names: Sequence[str]) -> list[str]:
    """Classes whose name speaks of a side: ``wave_left``, ``turnRight``; ``kick l`` beside ``kick r``."""
    words = {name: tuple(word.lower() for word in _WORD.findall(name)) for name in names}
    every = set(words.values())
    return [
        name
        for name, own in words.items()
        if _SIDES.intersection(own)
        or any(
            word in _SHORT and (*own[:index], _SHORT[word], *own[index + 1 :]) in every
            for index, word in enumerate(own)
        )
    ]


def swapped_classes(
    features: npt.NDArray[np.floating], mirrored: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Pairs of classes each of which the mirror images of the other are taken for, by the nearest neighbor.

    Args:
        features: (N, D) of sequences.
        mirrored: (N, D) of their mirror images.
        labels: (N,) class numbers.
    """
    own = _nearest_labels(features, features, labels)
    other = _nearest_labels(mirrored, features, labels)
    classes = np.unique(labels)
    found = []
    for one in classes.tolist():
        for two in classes[classes > one].tolist():
            fractions = [
                min(float((own[labels == a] == a).mean()), float((other[labels == a] == b).mean()))
                for a, b in ((one, two), (two, one))
            ]
            if min(fractions) >= FRACTION:
                found.append((one, two))
    return found


def _nearest_labels(
    asked: npt.NDArray[np.floating], known: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The label of each row's nearest neighbor, which is not the row of the same number."""
    squares = (asked**2).sum(axis=1)[:, None] - 2 * asked @ known.T + (known**2).sum(axis=1)
    np.fill_diagonal(squares, np.inf)
    nearest: npt.NDArray[np.int64] = labels[squares.argmin(axis=1)]
    return nearest
