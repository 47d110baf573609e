"""How far two sets of detections are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tao_like.runtime.boxes import overlaps
from tao_like.runtime.detection import FoundBoxes, Selection

CLOSE_OVERLAP = 1e-3
"""Overlaps so near the threshold of suppression may fall on either side of it."""
SAME_PLACE = 0.9
"""Intersection over union from which on two boxes are taken for the same."""


def largest_difference(
    expected: Sequence[FoundBoxes], actual: Sequence[FoundBoxes], selection: Selection, side: int
) -> float:
    """The largest difference of a score, or of a box as a share of the input's side, over all pictures.

    Detections are compared as sets: each finds its counterpart by class and place. One without a counterpart
    counts by how far its score lies above what a detection needs at least, so that a box on the edge of the
    threshold is no disagreement; or not at all where its overlap with a better box is within 0.001 of the
    threshold of suppression.

    Args:
        expected: one a picture.
        actual: likewise.
        selection: by which both were made.
        side: of the input, in pixels.
    """
    worst = 0.0
    for one, other in zip(expected, actual, strict=True):
        worst = max(worst, _of_picture(one, other, selection, side))
    return worst


def _of_picture(one: FoundBoxes, other: FoundBoxes, selection: Selection, side: int) -> float:
    shares = overlaps(one.boxes, other.boxes) * (one.labels[:, None] == other.labels[None, :])
    free = np.ones(len(other), bool)
    worst = 0.0
    for place in range(len(one)):
        open_shares = np.where(free, shares[place], 0.0)
        match = int(open_shares.argmax()) if len(open_shares) else -1
        if match < 0 or open_shares[match] < SAME_PLACE:
            worst = max(worst, _excess(one, place, selection))
            continue
        free[match] = False
        moved = float(np.abs(one.boxes[place] - other.boxes[match]).max()) / side
        worst = max(worst, moved, abs(float(one.scores[place] - other.scores[match])))
    return max([worst, *(_excess(other, int(place), selection) for place in np.flatnonzero(free))])


def _excess(found: FoundBoxes, place: int, selection: Selection) -> float:
    """How far a detection lies above what it needed to be one."""
    needed = selection.score_threshold
    if len(found) == selection.limit:
        needed = max(needed, float(found.scores.min()))
    rivals = overlaps(found.boxes[place : place + 1], found.boxes)[0]
    rivals = rivals[(found.labels == found.labels[place]) & (found.scores >= found.scores[place])]
    if (np.abs(rivals - selection.iou_threshold) < CLOSE_OVERLAP).any():
        return 0.0
    return float(found.scores[place]) - needed
