"""Detections as label files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tao_like.data.lidar.frame import Calibration
from tao_like.data.lidar.kitti import kitti_lines, lidar_line
from tao_like.runtime.predictions.boxes3d import Detection3d
from tao_like.tasks.common.label_files import label_files


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
    """A label file for each frame; see `label_files`.

    With a calibration as KITTI takes results, in the camera's frame with 2D boxes; without one as TAO writes
    them, in the LiDAR's frame.
    """
    return label_files((result.key, _lines(result)) for result in results)


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
