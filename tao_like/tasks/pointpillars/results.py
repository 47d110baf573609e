"""Detections as label files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from tao_like.datasets.lidar_kitti import kitti_lines, lidar_line
from tao_like.datasets.lidar_record import Calibration
from tao_like.runtime.detection3d import Detection3d


class FrameResult(NamedTuple):
    """The detections of a frame.

    Attributes:
        key: name of the frame.
        detections: what was found.
        calibration: where there is a camera.
    """

    key: str
    detections: tuple[Detection3d, ...]
    calibration: Calibration | None = None


def label_texts(results: Sequence[FrameResult]) -> dict[str, str]:
    """For each frame ``labels/<name>.txt``; frames of the same name get a number behind it.

    With a calibration as KITTI takes results, in the camera's frame with 2D boxes; without one as TAO writes
    them, in the LiDAR's frame.
    """
    texts: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for result in results:
        name = PurePath(result.key).stem
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name}_{seen[name]}"
        texts[f"labels/{unique}.txt"] = "".join(f"{line}\n" for line in _lines(result))
    return texts


def _lines(result: FrameResult) -> list[str]:
    found = result.detections
    if result.calibration is None:
        return [lidar_line(one.label, one.box, one.score) for one in found]
    return kitti_lines(
        [one.label for one in found],
        [one.box for one in found],
        [one.score for one in found],
        result.calibration,
    )
