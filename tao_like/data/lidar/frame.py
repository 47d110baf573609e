"""One LiDAR frame and the boxes around its objects, whatever layout they were written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tao_like.runtime.geometry.boxes3d import Boxes, as_boxes
from tao_like.runtime.inputs.points import Points

IGNORED_LABEL = -1
"""Class number of an object that is neither learnt nor held against a prediction."""


class Object3d(NamedTuple):
    """An object, in the LiDAR's frame.

    Attributes:
        label: as the file has it.
        box: x, y, z of the center of gravity, dx, dy, dz in metres, yaw in radians.
        truncated: share outside the camera's image, 0 to 1; -1: not known.
        occluded: 0 visible, 1 partly, 2 largely hidden, 3 not known; -1: not known.
        alpha: angle at which the camera sees it, in radians; -10: not known.
        bbox: left, top, right, bottom in pixels of the camera's image; all 0: not known.
    """

    label: str
    box: tuple[float, ...]
    truncated: float = -1.0
    occluded: int = -1
    alpha: float = -10.0
    bbox: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Calibration:
    """How KITTI's LiDAR and camera stand to each other.

    Attributes:
        projection: P2, (3, 4): from the rectified camera frame to pixels.
        rectified: (4, 4): from the LiDAR's frame to the rectified camera frame.
        image_size: width and height of the camera's image in pixels.
    """

    projection: npt.NDArray[np.float64]
    rectified: npt.NDArray[np.float64]
    image_size: tuple[int, int]

    def to_camera(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Points (N, 3) of the LiDAR's frame in the camera's: x right, y down, z forward."""
        return _transformed(points, self.rectified)

    def to_lidar(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Points (N, 3) of the camera's frame in the LiDAR's."""
        return _transformed(points, np.linalg.inv(self.rectified).astype(np.float64))

    def to_pixels(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Points (N, 3) of the camera's frame as columns and rows, and their depth in metres, (N, 3)."""
        positions = np.asarray(points, np.float64).reshape(-1, 3)
        flat = positions @ self.projection[:, :3].T + self.projection[:, 3]
        depth = flat[:, 2:]
        return np.concatenate([flat[:, :2] / np.where(np.abs(depth) < 1e-6, 1e-6, depth), depth], axis=1)

    def is_seen(self, points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which points (N, 3) of the LiDAR's frame lie in the camera's image, (N,)."""
        pixels = self.to_pixels(self.to_camera(points))
        inside = (pixels[:, :2] >= 0) & (pixels[:, :2] < self.image_size)
        seen: npt.NDArray[np.bool_] = inside.all(axis=1) & (pixels[:, 2] >= 0)
        return seen


def _transformed(points: npt.ArrayLike, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    positions = np.asarray(points, np.float64).reshape(-1, 3)
    moved: npt.NDArray[np.float64] = positions @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


@dataclass(frozen=True)
class LidarRecord:
    """A frame with its objects.

    Attributes:
        path: of the points.
        name: below the data's root, for people.
        objects: in the order of the file.
        calibration: where there is a camera.
        source: the file that the objects were read from, for messages.
        crop: only points that the camera sees are taken.
        image: the camera's image, where there is one.
        ignored_boxes: (M, 4) regions of the image where nothing is labelled (KITTI's DontCare), in pixels.
    """

    path: Path
    name: str
    objects: tuple[Object3d, ...] = ()
    calibration: Calibration | None = None
    source: Path | None = None
    crop: bool = False
    image: Path | None = None
    ignored_boxes: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class FrameObjects:
    """The objects of a frame as arrays.

    Attributes:
        boxes: (G, 7).
        labels: (G,) class numbers; `IGNORED_LABEL` for labels that are no class.
        names: the labels as the file has them.
        truncated: (G,).
        occluded: (G,).
        alpha: (G,) radians.
        bboxes: (G, 4) pixels.
    """

    boxes: Boxes
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    truncated: npt.NDArray[np.float64]
    occluded: npt.NDArray[np.int64]
    alpha: npt.NDArray[np.float64]
    bboxes: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def learnt(self) -> npt.NDArray[np.bool_]:
        """Which are of a class."""
        is_class: npt.NDArray[np.bool_] = self.labels != IGNORED_LABEL
        return is_class


def frame_objects(
    objects: Sequence[Object3d], classes: Sequence[str], renamed: Mapping[str, str]
) -> FrameObjects:
    """Objects as arrays.

    Args:
        objects: of a frame.
        classes: class names in the order of their numbers.
        renamed: label of the file to the class that it counts as.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    labels = [numbers.get(renamed.get(one.label, one.label), IGNORED_LABEL) for one in objects]
    return FrameObjects(
        boxes=as_boxes([one.box for one in objects]),
        labels=np.array(labels, np.int64),
        names=tuple(one.label for one in objects),
        truncated=np.array([one.truncated for one in objects], np.float64),
        occluded=np.array([one.occluded for one in objects], np.int64),
        alpha=np.array([one.alpha for one in objects], np.float64),
        bboxes=np.array([one.bbox for one in objects], np.float64).reshape(-1, 4),
    )


def points_of(record: LidarRecord, points: Points) -> Points:
    """The points of a frame that count: all, or those that its camera sees."""
    if record.crop and record.calibration is not None:
        return points[record.calibration.is_seen(points[:, :3])]
    return points
