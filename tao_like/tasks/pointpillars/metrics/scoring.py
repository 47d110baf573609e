"""Answers held against truths: by KITTI's rules of difficulty, or plainly, or by distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tao_like.data.lidar.kitti import boxes_to_camera, camera_angles, camera_boxes
from tao_like.runtime.geometry.boxes3d import Boxes, ground_overlaps, overlaps_3d
from tao_like.runtime.predictions.detections import FoundBoxes
from tao_like.tasks.pointpillars.data.dataset import Truth
from tao_like.tasks.pointpillars.metrics.average_precision import (
    ABSENT,
    COUNTS,
    IGNORED,
    FramePair,
    Precision,
    average_precision,
)

PLAIN_OVERLAP = 0.5
"""What TAO asks of every class."""
KITTI_OVERLAPS = {"car": 0.7, "van": 0.7, "truck": 0.7, "tram": 0.7}
"""KITTI asks this of vehicles, and one half of people."""
OTHER_OVERLAP = 0.5
NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting"}
"""Labels that are so near a class that an answer there is no fault."""
DISTANCES = (0.0, 20.0, 40.0, 60.0, 100.0)
"""Ranges of the distance from the sensor, in metres."""
KINDS = ("bbox", "bev", "3d")


class Difficulty(NamedTuple):
    """Which objects KITTI asks for: at least so high in the picture, at most so hidden and cut off."""

    name: str
    height: float
    occluded: int
    truncated: float


DIFFICULTIES = (
    Difficulty("easy", 40, 0, 0.15),
    Difficulty("moderate", 25, 1, 0.30),
    Difficulty("hard", 25, 2, 0.50),
)


@dataclass(frozen=True)
class Overlaps:
    """How answers and objects of a frame overlap.

    Attributes:
        bev: (G, D) seen from above.
        space: (G, D) of the volumes.
    """

    bev: Boxes
    space: Boxes


def frame_overlaps(truth: Truth, found: FoundBoxes) -> Overlaps:
    """Overlaps in the LiDAR's frame."""
    return Overlaps(
        ground_overlaps(truth.objects.boxes, found.boxes), overlaps_3d(truth.objects.boxes, found.boxes)
    )


def plain_precision(
    truths: Sequence[Truth],
    answers: Sequence[FoundBoxes],
    overlaps: Sequence[Overlaps],
    label: int,
    distance: tuple[float, float] | None = None,
) -> dict[str, Precision]:
    """Average precision ``bev`` and ``3d`` of a class where every object counts, at overlap 0.5.

    Args:
        truths: one a frame.
        answers: likewise.
        overlaps: likewise.
        label: class number.
        distance: only objects and answers so far from the sensor count, in metres.
    """
    pairs: dict[str, list[FramePair]] = {"bev": [], "3d": []}
    for truth, found, shares in zip(truths, answers, overlaps, strict=True):
        states = np.where(truth.objects.labels == label, COUNTS, ABSENT)
        found_states = np.where(found.labels == label, COUNTS, ABSENT)
        if distance:
            states = _within(states, truth.objects.boxes, distance)
            found_states = _within(found_states, found.boxes, distance)
        for kind, values in (("bev", shares.bev), ("3d", shares.space)):
            pairs[kind].append(FramePair(values, states, found_states, found.scores.astype(np.float64)))
    return {kind: average_precision(frames, PLAIN_OVERLAP) for kind, frames in pairs.items()}


def _within(
    states: npt.NDArray[np.int64], boxes: npt.NDArray[np.floating], distance: tuple[float, float]
) -> npt.NDArray[np.int64]:
    away = np.hypot(boxes[:, 0], boxes[:, 1])
    is_far = (away < distance[0]) | (away >= distance[1])
    return np.where(is_far & (states == COUNTS), IGNORED, states)


@dataclass(frozen=True)
class _CameraFrame:
    """A frame as KITTI's evaluation sees it."""

    truth: Truth
    found: FoundBoxes
    found_bboxes: Boxes
    overlaps: dict[str, Boxes]
    angle_differences: Boxes
    region_overlaps: Boxes
    names: tuple[str, ...]


def has_camera(truths: Sequence[Truth]) -> bool:
    """Whether there is what KITTI's rules need: calibration, and objects with 2D boxes."""
    known = [truth for truth in truths if truth.calibration is not None]
    return len(known) == len(truths) and any((truth.objects.bboxes != 0).any() for truth in known)


def kitti_precision(
    truths: Sequence[Truth], answers: Sequence[FoundBoxes], classes: Sequence[str]
) -> dict[str, dict[str, dict[str, Precision]]]:
    """KITTI's average precision: class, difficulty and kind (``bbox``, ``bev``, ``3d``) to figures.

    The orientation similarity is that of ``bbox``.

    Args:
        truths: one a frame, with calibration.
        answers: likewise.
        classes: class names in the order of the numbers.
    """
    frames = [_in_camera(truth, found) for truth, found in zip(truths, answers, strict=True)]
    return {
        name: {difficulty.name: _by_kind(frames, label, name, difficulty) for difficulty in DIFFICULTIES}
        for label, name in enumerate(classes)
    }


def _by_kind(
    frames: Sequence[_CameraFrame], label: int, name: str, difficulty: Difficulty
) -> dict[str, Precision]:
    states = [_states(frame, label, name, difficulty) for frame in frames]
    least = KITTI_OVERLAPS.get(name.lower(), OTHER_OVERLAP)
    return {
        kind: average_precision(
            [_pair(frame, *each, kind) for frame, each in zip(frames, states, strict=True)], least
        )
        for kind in KINDS
    }


def _in_camera(truth: Truth, found: FoundBoxes) -> _CameraFrame:
    """Boxes in the camera's frame, where the ground is that of the camera and heights are along it."""
    assert truth.calibration is not None
    pixels = camera_boxes(found.boxes, truth.calibration)
    true_values = boxes_to_camera(truth.objects.boxes, truth.calibration)
    found_values = boxes_to_camera(found.boxes, truth.calibration)
    one, other = _standing(true_values), _standing(found_values)
    regions = np.array(truth.ignored_boxes, np.float64).reshape(-1, 4)
    return _CameraFrame(
        truth,
        found,
        pixels,
        {
            "bbox": _flat_overlaps(truth.objects.bboxes, pixels),
            "bev": ground_overlaps(one, other),
            "3d": overlaps_3d(one, other),
        },
        truth.objects.alpha[:, None] - camera_angles(found_values)[None],
        _flat_common(regions, pixels) / np.maximum(_flat_areas(pixels), 1e-9)[None],
        tuple(name.lower() for name in truth.objects.names),
    )


def _standing(values: Boxes) -> Boxes:
    """Camera boxes (h, w, l, x, y, z, rotation_y) as boxes over the plane of x and z, up against y."""
    boxes = np.empty_like(values)
    boxes[:, 0], boxes[:, 1] = values[:, 3], values[:, 5]
    boxes[:, 2] = values[:, 0] / 2 - values[:, 4]
    boxes[:, 3:6] = values[:, [2, 1, 0]]
    boxes[:, 6] = -values[:, 6]
    return boxes


def _states(
    frame: _CameraFrame, label: int, name: str, difficulty: Difficulty
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What each object and each answer of a frame is to a class at a difficulty."""
    objects, found = frame.truth.objects, frame.found
    height = objects.bboxes[:, 3] - objects.bboxes[:, 1]
    is_hard = (
        (objects.occluded > difficulty.occluded)
        | (objects.truncated > difficulty.truncated)
        | (height <= difficulty.height)
    )
    is_class = objects.labels == label
    near = NEIGHBOURS.get(name.lower())
    is_near = np.zeros(len(is_class), bool)
    if near in frame.names:
        is_near = np.array([one == near for one in frame.names]) & ~is_class
    states = np.where(is_class & ~is_hard, COUNTS, np.where(is_near | is_class, IGNORED, ABSENT))
    is_small = np.abs(frame.found_bboxes[:, 3] - frame.found_bboxes[:, 1]) < difficulty.height
    return states, np.where(is_small, IGNORED, np.where(found.labels == label, COUNTS, ABSENT))


def _pair(
    frame: _CameraFrame, states: npt.NDArray[np.int64], found_states: npt.NDArray[np.int64], kind: str
) -> FramePair:
    return FramePair(
        frame.overlaps[kind],
        states,
        found_states,
        frame.found.scores.astype(np.float64),
        frame.angle_differences if kind == "bbox" else None,
        frame.region_overlaps if kind == "bbox" else None,
    )


def _flat_areas(boxes: Boxes) -> Boxes:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _flat_common(first: Boxes, second: Boxes) -> Boxes:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.maximum(high - low, 0).prod(axis=2)


def _flat_overlaps(first: Boxes, second: Boxes) -> Boxes:
    common = _flat_common(first, second)
    return common / np.maximum(_flat_areas(first)[:, None] + _flat_areas(second)[None] - common, 1e-9)


def right_answers(
    truth: Truth, found: FoundBoxes, label: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int]:
    """Scores of a class's answers, surest first, whether each finds a new object, and how many there are.

    An answer finds an object that it overlaps by more than one half, seen from above.
    """
    objects = np.flatnonzero(truth.objects.labels == label)
    mine = np.flatnonzero(found.labels == label)
    mine = mine[np.argsort(-found.scores[mine], kind="stable")]
    shares = ground_overlaps(found.boxes[mine], truth.objects.boxes[objects])
    right = np.zeros(len(mine), bool)
    for place in range(len(mine)):
        if shares.shape[1] and shares[place].max() > PLAIN_OVERLAP:
            right[place] = True
            shares[:, shares[place].argmax()] = 0
    return found.scores[mine].astype(np.float64), right, len(objects)


def mean_of(figures: Mapping[str, float]) -> float:
    """Mean over the classes that have objects; -1 where none has."""
    known = [value for value in figures.values() if value >= 0]
    return float(np.mean(known)) if known else -1.0
