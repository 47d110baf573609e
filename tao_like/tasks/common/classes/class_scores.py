"""How right the predictions of one class are, and the score from which on they are best given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DEFAULT_THRESHOLD = 0.5
"""The threshold of a class without an object to choose it by."""


@dataclass(frozen=True)
class ClassScores:
    """All predictions of one class, by descending score.

    Attributes:
        scores: (M,).
        right: (M,) whether a prediction found an object that no surer one had found, or a sample of the
            class.
        objects: number of objects, or of samples, of the class.
    """

    scores: npt.NDArray[np.floating]
    right: npt.NDArray[np.bool_]
    objects: int

    @classmethod
    def ordered(
        cls, scores: npt.NDArray[np.floating], right: npt.NDArray[np.bool_], objects: int
    ) -> ClassScores:
        """Predictions in any order, put in theirs; of equal scores the earlier comes first."""
        order = np.argsort(-scores, kind="stable")
        return cls(scores[order], right[order], objects)

    def curve(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Precision and recall when the first 1, 2, ... M predictions count."""
        hits = np.cumsum(self.right)
        return hits / np.arange(1, len(hits) + 1), hits / max(self.objects, 1)

    def at(self, cut: float) -> tuple[float, float, float]:
        """Precision, recall and F1 of the predictions with a score of at least ``cut``; 0 where undefined."""
        chosen = self.scores >= cut
        hits = int(self.right[chosen].sum())
        precision = hits / max(int(chosen.sum()), 1)
        recall = hits / max(self.objects, 1)
        return precision, recall, 2 * hits / max(int(chosen.sum()) + self.objects, 1)


def best_f1_threshold(predictions: ClassScores) -> float:
    """The score of the best F1, midway to the next, so that no single one decides; 0.5 without objects."""
    if not predictions.objects or not predictions.right.any():
        return DEFAULT_THRESHOLD
    hits = np.cumsum(predictions.right)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + predictions.objects)
    last_of_ties = np.append(predictions.scores[1:] != predictions.scores[:-1], True)
    best = int(np.argmax(np.where(last_of_ties, f1, -1.0)))
    below = float(predictions.scores[best + 1]) if best + 1 < len(hits) else 0.0
    return round((float(predictions.scores[best]) + below) / 2, 6)
