"""How far two sets of boxes in space are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tao_like.runtime.boxes3d import ground_overlaps, wrapped
from tao_like.runtime.detection3d import FoundBoxes3d, Selection3d

CLOSE_OVERLAP = 1e-3
"""Overlaps so near the threshold of suppression may fall on either side of it."""
SAME_PLACE = 0.9
"""Intersection over union from which on two boxes are taken for the same."""


def largest_difference(
    expected: Sequence[FoundBoxes3d], actual: Sequence[FoundBoxes3d], selection: Selection3d
) -> float:
    """The largest difference of a score, or of a value of a box relative to its size, over all frames.

    Detections are compared as sets, since equal scores may change places: each finds its counterpart by class
    and place. One without a counterpart counts by how far its score lies above what a detection needs at
    least, and not at all where its overlap with a better box is within 0.001 of the threshold of suppression.

    Args:
        expected: one a frame.
        actual: likewise.
        selection: by which both were made.
    """
    pairs = zip(expected, actual, strict=True)
    return max((_of_frame(one, other, selection) for one, other in pairs), default=0.0)


def _of_frame(one: FoundBoxes3d, other: FoundBoxes3d, selection: Selection3d) -> float:
    shares = ground_overlaps(one.boxes, other.boxes) * (one.labels[:, None] == other.labels[None, :])
    free = np.ones(len(other), bool)
    worst = 0.0
    for place in range(len(one)):
        open_shares = np.where(free, shares[place], 0.0)
        match = int(open_shares.argmax()) if len(open_shares) else -1
        if match < 0 or open_shares[match] < SAME_PLACE:
            worst = max(worst, _excess(one, place, selection))
            continue
        free[match] = False
        score = abs(float(one.scores[place] - other.scores[match]))
        worst = max(worst, score, _moved(one.boxes[place], other.boxes[match]))
    return max([worst, *(_excess(other, int(place), selection) for place in np.flatnonzero(free))])


def _moved(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of a place or size as a share of the box's longest side, or of yaw in radians."""
    side = max(float(one[3:6].max()), 1.0)
    straight = float(np.abs(one[:6] - other[:6]).max()) / side
    return max(straight, abs(float(wrapped(one[6] - other[6]))))


def _excess(found: FoundBoxes3d, place: int, selection: Selection3d) -> float:
    """How far a detection lies above what it needed to be one."""
    needed = selection.score_threshold
    if len(found) == selection.limit:
        needed = max(needed, float(found.scores.min()))
    rivals = ground_overlaps(found.boxes[place : place + 1], found.boxes)[0]
    rivals = rivals[found.scores >= found.scores[place]]
    if (np.abs(rivals - selection.iou_threshold) < CLOSE_OVERLAP).any():
        return 0.0
    return float(found.scores[place]) - needed
