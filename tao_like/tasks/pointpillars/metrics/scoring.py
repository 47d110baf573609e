"""Average precision by KITTI's rules of difficulty, or plainly, or by distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tao_like.tasks.pointpillars.metrics.average_precision import (
    ABSENT,
    COUNTS,
    IGNORED,
    FramePair,
    Precision,
    average_precision,
)
from tao_like.tasks.pointpillars.metrics.frames import LEAST_IOU, CameraView, ScoredFrame

PLAIN_IOU = LEAST_IOU
"""What TAO asks of every class."""
KITTI_IOU = {"car": 0.7, "van": 0.7, "truck": 0.7, "tram": 0.7}
"""KITTI asks this of vehicles, and one half of people."""
DISTANCES = (0.0, 20.0, 40.0, 60.0, 100.0)
"""Ranges of the distance from the sensor, in metres."""
KINDS = ("bbox", "bev", "3d")
States = npt.NDArray[np.int64]


class Difficulty(NamedTuple):
    """Which objects KITTI asks for: at least so high in the image, at most so hidden and cut off."""

    name: str
    height: float
    occluded: int
    truncated: float


DIFFICULTIES = (
    Difficulty("easy", 40, 0, 0.15),
    Difficulty("moderate", 25, 1, 0.30),
    Difficulty("hard", 25, 2, 0.50),
)


def plain_precision(
    frames: Sequence[ScoredFrame], label: int, distance: tuple[float, float] | None = None
) -> dict[str, Precision]:
    """Average precision ``bev`` and ``3d`` of a class where every object counts, at IoU 0.5.

    Args:
        frames: all of them.
        label: class number.
        distance: only objects and detections so far from the sensor count, in metres.
    """
    pairs: dict[str, list[FramePair]] = {"bev": [], "3d": []}
    for frame in frames:
        states = np.where(frame.labels == label, COUNTS, ABSENT)
        detection_states = np.where(frame.detected == label, COUNTS, ABSENT)
        if distance:
            states = _within(states, frame.distances, distance)
            detection_states = _within(detection_states, frame.detected_distances, distance)
        if not ((states == COUNTS).any() or (detection_states == COUNTS).any()):
            continue  # Nothing here could be right or wrong.
        for kind, of_kind in pairs.items():
            of_kind.append(FramePair(frame.iou[kind].matrix(), states, detection_states, frame.scores))
    return {kind: average_precision(of_kind, PLAIN_IOU) for kind, of_kind in pairs.items()}


def _within(states: States, away: npt.NDArray[np.floating], distance: tuple[float, float]) -> States:
    is_far = (away < distance[0]) | (away >= distance[1])
    return np.where(is_far & (states == COUNTS), IGNORED, states)


def has_camera(frames: Sequence[ScoredFrame]) -> bool:
    """Whether there is what KITTI's rules need: a camera in every frame, and objects with 2D boxes."""
    return all(frame.camera is not None for frame in frames) and any(frame.has_2d_boxes for frame in frames)


def kitti_precision(
    frames: Sequence[ScoredFrame], classes: Sequence[str]
) -> dict[str, dict[str, dict[str, Precision]]]:
    """KITTI's average precision: class, difficulty and kind (``bbox``, ``bev``, ``3d``) to values.

    The orientation similarity is that of ``bbox``.

    Args:
        frames: all of them, with a camera.
        classes: class names in the order of the numbers.
    """
    return {
        name: {difficulty.name: _by_kind(frames, label, name, difficulty) for difficulty in DIFFICULTIES}
        for label, name in enumerate(classes)
    }


def _by_kind(
    frames: Sequence[ScoredFrame], label: int, name: str, difficulty: Difficulty
) -> dict[str, Precision]:
    pairs: dict[str, list[FramePair]] = {kind: [] for kind in KINDS}
    for frame in frames:
        assert frame.camera is not None
        states, detection_states = _states(frame, frame.camera, label, difficulty)
        if (states == ABSENT).all() and (detection_states == ABSENT).all():
            continue
        for kind, of_kind in pairs.items():
            is_flat = kind == "bbox"
            of_kind.append(
                FramePair(
                    frame.camera.iou[kind].matrix(),
                    states,
                    detection_states,
                    frame.scores,
                    frame.camera.angle_differences.matrix() if is_flat else None,
                    frame.camera.region_fractions.matrix() if is_flat else None,
                )
            )
    least = KITTI_IOU.get(name.lower(), LEAST_IOU)
    return {kind: average_precision(of_kind, least) for kind, of_kind in pairs.items()}


def _states(
    frame: ScoredFrame, camera: CameraView, label: int, difficulty: Difficulty
) -> tuple[States, States]:
    """What each object and each detection of a frame is to a class at a difficulty."""
    is_hard = (
        (camera.occluded > difficulty.occluded)
        | (camera.truncated > difficulty.truncated)
        | (camera.heights <= difficulty.height)
    )
    is_class = frame.labels == label
    states = np.where(
        is_class & ~is_hard, COUNTS, np.where(camera.neighbors[label] | is_class, IGNORED, ABSENT)
    )
    is_small = camera.detection_heights < difficulty.height
    return states, np.where(is_small, IGNORED, np.where(frame.detected == label, COUNTS, ABSENT))


def mean_of(values: Mapping[str, float]) -> float:
    """Mean over the classes that have objects; -1 where none has."""
    known = [value for value in values.values() if value >= 0]
    return float(np.mean(known)) if known else -1.0
