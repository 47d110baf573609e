"""KITTI's average precision, over all frames and thresholds at once.

The rules are those of the object development kit's evaluation (Geiger et al. 2012), with 11 recall points or
40 (Simonelli et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

COUNTS, IGNORED, ABSENT = 0, 1, -1
"""State of an object or detection: it counts; it may match, and is then left out; its class is another."""
RECALL_STEPS = 40
FRAMES_AT_ONCE = 256
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FramePair:
    """Objects and detections of a frame, for one class and one kind of overlap.

    Attributes:
        iou: (G, D).
        target_states: (G,).
        detection_states: (D,).
        scores: (D,).
        angle_differences: (G, D) radians between object and detection, for the similarity of orientation.
        region_fractions: (R, D) fraction of each detection that lies in a region without labels.
    """

    iou: Floats
    target_states: npt.NDArray[np.int64]
    detection_states: npt.NDArray[np.int64]
    scores: Floats
    angle_differences: Floats | None = None
    region_fractions: Floats | None = None


@dataclass(frozen=True)
class Precision:
    """Average precision, 0 to 1; -1 where no object counts.

    Attributes:
        r40: over 40 recall points.
        r11: over 11.
        aos40: average orientation similarity over 40; -1 where angles are not known.
        aos11: over 11.
        precision: at each of the 41 points, 0 where recall does not get there.
        objects: that count.
    """

    r40: float
    r11: float
    aos40: float
    aos11: float
    precision: tuple[float, ...]
    objects: int


NOTHING = Precision(-1.0, -1.0, -1.0, -1.0, (), 0)


def average_precision(frames: Sequence[FramePair], min_iou: float) -> Precision:
    """Average precision over frames.

    Each object takes first, to find the thresholds, the detection of the highest score that overlaps it by
    more than ``min_iou``; then, to count at each threshold, the one of the largest overlap.

    Args:
        frames: all of them, those without objects or detections too.
        min_iou: from which on a detection is right; it must be exceeded.
    """
    objects = sum(int((frame.target_states == COUNTS).sum()) for frame in frames)
    if not objects:
        return NOTHING
    # Those with most objects first, so that frames of one batch have about as many.
    ordered = sorted(map(_without_absent, frames), key=lambda frame: -len(frame.target_states))
    batches = [
        _Batch(ordered[start : start + FRAMES_AT_ONCE]) for start in range(0, len(ordered), FRAMES_AT_ONCE)
    ]
    hits = [score for batch in batches for score in batch.scores_of_hits(min_iou)]
    limits = score_limits(hits, objects)[: RECALL_STEPS + 1]
    right, wrong, similarity = np.sum([batch.count(min_iou, np.array(limits)) for batch in batches], axis=0)
    found = np.zeros(RECALL_STEPS + 1)
    alike = np.zeros(RECALL_STEPS + 1)
    detections = np.maximum(right + wrong, 1e-12)
    found[: len(limits)] = right / detections
    alike[: len(limits)] = similarity / detections
    # The best that is reached at this recall or a higher one.
    found, alike = (np.maximum.accumulate(values[::-1])[::-1] for values in (found, alike))
    known = any(frame.angle_differences is not None for frame in frames)
    return Precision(
        r40=float(found[1:].mean()),
        r11=float(found[::4].mean()),
        aos40=float(alike[1:].mean()) if known else -1.0,
        aos11=float(alike[::4].mean()) if known else -1.0,
        precision=tuple(found.tolist()),
        objects=objects,
    )


def score_limits(scores: Sequence[float], objects: int) -> list[float]:
    """The scores of right detections at which recall is nearest to 0, 1/40, 2/40, ... of the objects."""
    ordered = sorted(scores, reverse=True)
    limits: list[float] = []
    recall = 0.0
    for index, score in enumerate(ordered):
        here = (index + 1) / objects
        following = (index + 2) / objects if index < len(ordered) - 1 else here
        if following - recall < recall - here and index < len(ordered) - 1:
            continue
        limits.append(score)
        recall += 1 / RECALL_STEPS
    return limits


def _without_absent(frame: FramePair) -> FramePair:
    objects, found = frame.target_states != ABSENT, frame.detection_states != ABSENT
    if objects.all() and found.all():
        return frame
    pairs = np.ix_(objects, found)
    return FramePair(
        frame.iou[pairs],
        frame.target_states[objects],
        frame.detection_states[found],
        frame.scores[found],
        None if frame.angle_differences is None else frame.angle_differences[pairs],
        None if frame.region_fractions is None else frame.region_fractions[:, found],
    )


class _Batch:
    """Frames as arrays of one size: F frames, G objects, D detections, R regions; most objects first."""

    def __init__(self, frames: Sequence[FramePair]) -> None:
        self.objects = np.array([len(frame.target_states) for frame in frames])
        most_objects = int(self.objects.max(initial=0))
        most_found = max((len(frame.scores) for frame in frames), default=0)
        most_regions = max(
            (len(frame.region_fractions) for frame in frames if frame.region_fractions is not None), default=0
        )
        count = len(frames)
        self.iou = np.zeros((count, most_objects, most_found))
        self.differences = np.zeros((count, most_objects, most_found))
        self.targets = np.full((count, most_objects), ABSENT)
        self.found = np.full((count, most_found), ABSENT)
        self.scores = np.full((count, most_found), -np.inf)
        self.regions = np.zeros((count, most_regions, most_found))
        for row, frame in enumerate(frames):
            height, width = frame.iou.shape
            self.iou[row, :height, :width] = frame.iou
            self.targets[row, :height] = frame.target_states
            self.found[row, :width] = frame.detection_states
            self.scores[row, :width] = frame.scores
            if frame.angle_differences is not None:
                self.differences[row, :height, :width] = frame.angle_differences
            if frame.region_fractions is not None:
                self.regions[row, : len(frame.region_fractions), :width] = frame.region_fractions

    def _rows(self, number: int) -> int:
        """Frames that have an object of this number."""
        return int((self.objects > number).sum())

    def scores_of_hits(self, min_iou: float) -> list[float]:
        """Scores of the detections that match objects that count, each object with its best one."""
        taken = np.zeros(self.scores.shape, bool)
        hits: list[float] = []
        for number in range(self.iou.shape[1]):
            rows = slice(0, self._rows(number))
            fits = (self.iou[rows, number] > min_iou) & (self.found[rows] != ABSENT) & ~taken[rows]
            if not fits.size:
                continue
            best = np.where(fits, self.scores[rows], -np.inf).argmax(axis=1)
            each = np.arange(len(best))
            has = fits[each, best]
            taken[each[has], best[has]] = True
            counts = has & (self.targets[rows, number] == COUNTS) & (self.found[rows][each, best] == COUNTS)
            hits += self.scores[rows][each[counts], best[counts]].tolist()
        return hits

    def count(self, min_iou: float, limits: Floats) -> Floats:
        """Right detections, wrong ones, and the sum of orientation similarities at each threshold, (3, T)."""
        right, wrong, similarity = (np.zeros(len(limits)) for _ in range(3))
        # (F, T, D)
        passes = self.scores[:, None, :] >= limits[None, :, None]
        taken = np.zeros(passes.shape, bool)
        for number in range(self.iou.shape[1]):
            rows = slice(0, self._rows(number))
            iou = self.iou[rows, number]
            if not iou.size:
                continue
            free = (iou > min_iou)[:, None, :] & passes[rows] & ~taken[rows]
            counted = free & (self.found[rows] == COUNTS)[:, None, :]
            ignored = free & (self.found[rows] == IGNORED)[:, None, :]
            best = np.where(counted, iou[:, None, :], -1.0).argmax(axis=2)
            has_counted = counted.any(axis=2)
            best = np.where(has_counted, best, ignored.argmax(axis=2))
            has = has_counted | ignored.any(axis=2)
            frame, limit = np.nonzero(has)
            detection = best[frame, limit]
            taken[frame, limit, detection] = True
            hit = (self.targets[frame, number] == COUNTS) & (self.found[frame, detection] == COUNTS)
            np.add.at(right, limit[hit], 1)
            turned = self.differences[frame[hit], number, detection[hit]]
            np.add.at(similarity, limit[hit], (1 + np.cos(turned)) / 2)
        spare = passes & ~taken & (self.found == COUNTS)[:, None, :]
        wrong += spare.sum(axis=(0, 2))
        for number in range(self.regions.shape[1]):
            # A detection in a region without labels is no fault; each is excused once.
            excused = spare & (self.regions[:, number] > min_iou)[:, None, :]
            wrong -= excused.sum(axis=(0, 2))
            spare &= ~excused
        return np.stack([right, wrong, similarity])
