"""KITTI's calibration and label files, and the way between its camera frame and the LiDAR's.

Geiger, Lenz, Urtasun: Are we ready for autonomous driving? (2012), and the object development kit's readme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tao_like.data.lidar.frame import Calibration, Object3d
from tao_like.errors import DatasetError
from tao_like.runtime.geometry.boxes3d import Boxes, as_boxes, corners, wrapped

DONT_CARE = "DontCare"
_COLUMNS = (15, 16)
"""Values of a line: without and with a score."""


def read_text(path: Path) -> str:
    """A text file. Raises DatasetError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: the file cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text; it is no label file") from error


def read_calibration(path: Path, image_size: tuple[int, int]) -> Calibration:
    """Reads P2, R0_rect and Tr_velo_to_cam.

    Args:
        path: of the calibration file.
        image_size: width and height of the camera's image in pixels.

    Raises:
        DatasetError: the file cannot be read, or lacks one of them.
    """
    values: dict[str, list[float]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, colon, numbers = line.partition(":")
        if not colon:
            continue
        values[name.strip()] = [finite_number(word, path, number) for word in numbers.split()]
    wanted = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
    found = {}
    for name, shape in wanted.items():
        if len(values.get(name, [])) != math.prod(shape):
            raise DatasetError(f"{path}: {name} is missing, or has not {math.prod(shape)} numbers")
        found[name] = np.array(values[name]).reshape(shape)
    turned, moved = np.eye(4), np.eye(4)
    turned[:3, :3] = found["R0_rect"]
    moved[:3] = found["Tr_velo_to_cam"]
    return Calibration(found["P2"], turned @ moved, image_size)


def read_kitti_labels(
    path: Path, calibration: Calibration
) -> tuple[tuple[Object3d, ...], tuple[tuple[float, ...], ...]]:
    """Objects of a label file as published, in the LiDAR's frame, and the image's regions without labels.

    Raises:
        DatasetError: a line has another number of values, or no numbers.
    """
    objects, regions = [], []
    for label, values in label_lines(path):
        truncated, occluded, alpha, *bbox = values[:7]
        if label == DONT_CARE:
            regions.append(tuple(bbox))
            continue
        (box,) = boxes_to_lidar([values[7:14]], calibration)
        objects.append(Object3d(label, tuple(box.tolist()), truncated, int(occluded), alpha, tuple(bbox)))
    return tuple(objects), tuple(regions)


def read_lidar_labels(path: Path) -> tuple[Object3d, ...]:
    """Objects of a label file with KITTI's columns in the LiDAR's frame, as TAO has them.

    h, w, l are the box's height, width and length; x, y, z its center of gravity; the last its yaw.

    Raises:
        DatasetError: a line has another number of values, or no numbers.
    """
    objects = []
    for label, values in label_lines(path):
        if label == DONT_CARE:
            continue
        truncated, occluded, alpha, *bbox = values[:7]
        height, width, length, x, y, z, yaw = values[7:14]
        box = (x, y, z, length, width, height, yaw)
        objects.append(Object3d(label, box, truncated, int(occluded), alpha, tuple(bbox)))
    return tuple(objects)


def label_lines(path: Path) -> list[tuple[str, list[float]]]:
    """The label and the numbers of each line; an empty file has none.

    Raises:
        DatasetError: a line has another number of values, or no numbers.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) not in _COLUMNS:
            raise DatasetError(
                f"{path}:{number}: {len(words)} values; a line has {_COLUMNS[0]}, or {_COLUMNS[1]} "
                "with a score"
            )
        found.append((words[0], [finite_number(word, path, number) for word in words[1:]]))
    return found


def finite_number(word: str, path: Path, line: int) -> float:
    """The number that a word of a line is. Raises DatasetError."""
    try:
        value = float(word)
    except ValueError as error:
        raise DatasetError(f"{path}:{line}: {word!r} is no number") from error
    if not math.isfinite(value):
        raise DatasetError(f"{path}:{line}: {word!r} is no finite number")
    return value


def boxes_to_lidar(values: npt.ArrayLike, calibration: Calibration) -> Boxes:
    """KITTI's boxes in the LiDAR's frame.

    Args:
        values: (N, 7) h, w, l in metres, x, y, z of the middle of the underside in the camera's frame, and
            rotation_y in radians.
        calibration: of the frame.

    Returns:
        (N, 7) with the center of gravity, and yaw from -pi to pi.
    """
    given = as_boxes(values)
    boxes = np.empty_like(given)
    boxes[:, :3] = calibration.to_lidar(given[:, 3:6])
    boxes[:, 2] += given[:, 0] / 2
    boxes[:, 3:6] = given[:, [2, 1, 0]]
    boxes[:, 6] = wrapped(-np.pi / 2 - given[:, 6])
    return boxes


def boxes_to_camera(boxes: npt.ArrayLike, calibration: Calibration) -> Boxes:
    """What ``boxes_to_lidar`` takes, of boxes (N, 7) in the LiDAR's frame."""
    given = as_boxes(boxes)
    values = np.empty_like(given)
    values[:, :3] = given[:, [5, 4, 3]]
    bottoms = given[:, :3].copy()
    bottoms[:, 2] -= given[:, 5] / 2
    values[:, 3:6] = calibration.to_camera(bottoms)
    values[:, 6] = wrapped(-np.pi / 2 - given[:, 6])
    return values


def camera_angles(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """alpha of boxes as ``boxes_to_camera`` gives them: rotation_y seen along the ray from the camera."""
    given = as_boxes(values)
    return wrapped(given[:, 6] - np.arctan2(given[:, 3], given[:, 5]))


def camera_boxes(boxes: npt.ArrayLike, calibration: Calibration) -> npt.NDArray[np.float64]:
    """(N, 4) left, top, right, bottom in pixels of boxes (N, 7), cut off at the image's border.

    All 0 where a box lies behind the camera.
    """
    given = as_boxes(boxes)
    edges = np.zeros((len(given), 4))
    if not len(given):
        return edges
    pixels = calibration.to_pixels(calibration.to_camera(corners(given).reshape(-1, 3))).reshape(-1, 8, 3)
    width, height = calibration.image_size
    limits = np.array([width - 1, height - 1])
    low = np.clip(pixels[..., :2].min(axis=1), 0, limits)
    high = np.clip(pixels[..., :2].max(axis=1), 0, limits)
    is_ahead = (pixels[..., 2] > 0).all(axis=1)
    edges[is_ahead] = np.concatenate([low, high], axis=1)[is_ahead]
    return edges


def lidar_line(
    label: str, box: Sequence[float], score: float | None = None, one: Object3d | None = None
) -> str:
    """A line of TAO's label files: KITTI's columns in the LiDAR's frame."""
    x, y, z, length, width, height, yaw = box
    known = one or Object3d(label, tuple(box), bbox=(0.0,) * 4)
    front = f"{known.truncated:g} {known.occluded} {known.alpha:.4f} " + " ".join(
        f"{value:.2f}" for value in known.bbox
    )
    back = " ".join(f"{value:.4f}" for value in (height, width, length, x, y, z, yaw))
    end = "" if score is None else f" {score:.4f}"
    # A blank ends a field.
    return f"{label.replace(' ', '_')} {front} {back}{end}"


def kitti_lines(
    labels: Sequence[str], boxes: npt.ArrayLike, scores: Sequence[float], calibration: Calibration
) -> list[str]:
    """Lines of a label file as KITTI takes results: in the camera's frame, with 2D boxes and scores."""
    values = boxes_to_camera(boxes, calibration)
    pixels, angles = camera_boxes(boxes, calibration), camera_angles(values)
    lines = []
    for label, value, edges, angle, score in zip(labels, values, pixels, angles, scores, strict=True):
        numbers = " ".join(f"{number:.4f}" for number in (angle, *edges, *value, score))
        lines.append(f"{label.replace(' ', '_')} -1 -1 {numbers}")
    return lines
