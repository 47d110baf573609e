"""What scoring needs of a frame, as small arrays: the boxes themselves are not kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tao_like.data.lidar.frame import Calibration
from tao_like.data.lidar.kitti import boxes_to_camera, camera_angles, camera_boxes
from tao_like.runtime.geometry.boxes import box_areas
from tao_like.runtime.geometry.boxes3d import Boxes, bev_iou, box_iou_3d
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.pointpillars.data.dataset import FrameTarget

LEAST_IOU = 0.5
"""No rule asks for less: pairs that overlap by no more than this are not kept."""
NEIGHBORS = {"car": "van", "pedestrian": "person_sitting"}
"""Labels that are so near a class that a detection there is no fault."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """The few values of a matrix above ``LEAST_IOU``.

    Attributes:
        shape: of the matrix.
        rows: (P,).
        columns: (P,).
        values: (P,).
    """

    shape: tuple[int, int]
    rows: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]
    values: Floats

    @classmethod
    def of(cls, matrix: Boxes) -> Pairs:
        """The pairs of a matrix (N, M) that are worth keeping."""
        rows, columns = np.nonzero(matrix > LEAST_IOU)
        height, width = matrix.shape
        return cls(
            (height, width),
            rows.astype(np.int32),
            columns.astype(np.int32),
            matrix[rows, columns].astype(float),
        )

    def taken(self, matrix: Boxes) -> Pairs:
        """The values of another matrix at the same indices."""
        return Pairs(self.shape, self.rows, self.columns, matrix[self.rows, self.columns].astype(np.float64))

    def matrix(self) -> Floats:
        """The whole matrix, 0 elsewhere."""
        whole = np.zeros(self.shape)
        whole[self.rows, self.columns] = self.values
        return whole


@dataclass(frozen=True)
class CameraView:
    """A frame as KITTI's evaluation sees it. G objects, D detections, R regions without labels.

    Attributes:
        heights: (G,) of the objects in pixels.
        occluded: (G,).
        truncated: (G,).
        neighbors: (classes, G): labels that are near a class, see ``NEIGHBORS``.
        detection_heights: (D,) in pixels.
        iou: (G, D) for each kind: ``bbox``, ``bev``, ``3d``.
        angle_differences: (G, D) radians, at the pairs of ``bbox``.
        region_fractions: (R, D) fraction of each detection that lies in a region.
    """

    heights: Floats
    occluded: npt.NDArray[np.int64]
    truncated: Floats
    neighbors: npt.NDArray[np.bool_]
    detection_heights: Floats
    iou: dict[str, Pairs]
    angle_differences: Pairs
    region_fractions: Pairs


@dataclass(frozen=True)
class ScoredFrame:
    """The objects of a frame, its detections, and how they overlap. G objects, D detections.

    Attributes:
        labels: (G,) class numbers.
        distances: (G,) of the objects from the sensor in metres.
        detected: (D,) class numbers.
        scores: (D,).
        detected_distances: (D,).
        hits: (D,) whether a detection finds an object of its class that no better one had found, by more than
            ``LEAST_IOU`` seen from above.
        iou: (G, D) for each kind: ``bev``, ``3d``.
        camera: what KITTI's rules need; None where there is no camera, or they are not wanted.
        has_2d_boxes: some object has a box in the camera's image.
    """

    labels: npt.NDArray[np.int64]
    distances: npt.NDArray[np.floating]
    detected: npt.NDArray[np.int64]
    scores: Floats
    detected_distances: npt.NDArray[np.floating]
    hits: npt.NDArray[np.bool_]
    iou: dict[str, Pairs]
    camera: CameraView | None
    has_2d_boxes: bool

    def faults(self, thresholds: Floats) -> int:
        """Objects missed and detections wrong, where the scores reach the threshold of their class."""
        count = 0
        for label, threshold in enumerate(thresholds):
            shown = (self.detected == label) & (self.scores >= threshold)
            hits = int(self.hits[shown].sum())
            count += int((self.labels == label).sum()) + int(shown.sum()) - 2 * hits
        return count


def scored_frame(
    target: FrameTarget, found: Detections, classes: Sequence[str], *, with_camera: bool = True
) -> ScoredFrame:
    """Measures the detections of a frame against its objects, once for all rules.

    Args:
        target: the objects.
        found: the detections.
        classes: class names in the order of the numbers.
        with_camera: KITTI's rules are wanted where there is a camera.
    """
    objects = target.objects
    bev = bev_iou(objects.boxes, found.boxes)
    camera = None
    if with_camera and target.calibration is not None:
        camera = _camera_view(target, target.calibration, found, classes)
    return ScoredFrame(
        labels=objects.labels,
        distances=_distances(objects.boxes),
        detected=found.labels,
        scores=found.scores.astype(np.float64),
        detected_distances=_distances(found.boxes),
        hits=_hits(objects.labels, found, bev),
        iou={"bev": Pairs.of(bev), "3d": Pairs.of(box_iou_3d(objects.boxes, found.boxes))},
        camera=camera,
        has_2d_boxes=bool((objects.bboxes != 0).any()),
    )


def _distances(boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    away: npt.NDArray[np.floating] = np.hypot(boxes[:, 0], boxes[:, 1])
    return away


def _hits(labels: npt.NDArray[np.int64], found: Detections, iou: Boxes) -> npt.NDArray[np.bool_]:
    """By descending score each detection takes the object of its class that it overlaps most."""
    hits = np.zeros(len(found), bool)
    if not len(labels):
        return hits
    free = np.array(iou)
    for number in np.argsort(-found.scores, kind="stable"):
        candidates = np.where(labels == found.labels[number], free[:, number], 0.0)
        best = candidates.argmax()
        if candidates[best] > LEAST_IOU:
            hits[number] = True
            free[best] = 0
    return hits


def _camera_view(
    target: FrameTarget, calibration: Calibration, found: Detections, classes: Sequence[str]
) -> CameraView:
    """Boxes in the camera's frame, where the ground is that of the camera and heights are along it."""
    objects = target.objects
    pixels = camera_boxes(found.boxes, calibration)
    detected = boxes_to_camera(found.boxes, calibration)
    one, other = _standing(boxes_to_camera(objects.boxes, calibration)), _standing(detected)
    flat = Pairs.of(_flat_iou(objects.bboxes, pixels))
    regions = np.array(target.ignored_boxes, np.float64).reshape(-1, 4)
    in_regions = _flat_common(regions, pixels) / np.maximum(box_areas(pixels), 1e-9)[None]
    return CameraView(
        heights=objects.bboxes[:, 3] - objects.bboxes[:, 1],
        occluded=objects.occluded,
        truncated=objects.truncated,
        neighbors=_neighbors(objects.names, objects.labels, classes),
        detection_heights=np.abs(pixels[:, 3] - pixels[:, 1]),
        iou={
            "bbox": flat,
            "bev": Pairs.of(bev_iou(one, other)),
            "3d": Pairs.of(box_iou_3d(one, other)),
        },
        angle_differences=flat.taken(objects.alpha[:, None] - camera_angles(detected)[None]),
        region_fractions=Pairs.of(in_regions),
    )


def _neighbors(
    names: Sequence[str], labels: npt.NDArray[np.int64], classes: Sequence[str]
) -> npt.NDArray[np.bool_]:
    lower = np.array([name.lower() for name in names], dtype=object)
    near = [lower == NEIGHBORS.get(name.lower(), "") for name in classes]
    is_class = labels[None, :] == np.arange(len(classes))[:, None]
    mask: npt.NDArray[np.bool_] = np.array(near, bool).reshape(is_class.shape) & ~is_class
    return mask


def _standing(values: Boxes) -> Boxes:
    """Camera boxes (h, w, l, x, y, z, rotation_y) as boxes over the plane of x and z, up against y."""
    boxes = np.empty_like(values)
    boxes[:, 0], boxes[:, 1] = values[:, 3], values[:, 5]
    boxes[:, 2] = values[:, 0] / 2 - values[:, 4]
    boxes[:, 3:6] = values[:, [2, 1, 0]]
    boxes[:, 6] = -values[:, 6]
    return boxes


def _flat_common(first: Boxes, second: Boxes) -> Boxes:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.maximum(high - low, 0).prod(axis=2)


def _flat_iou(first: Boxes, second: Boxes) -> Boxes:
    common = _flat_common(first, second)
    return common / np.maximum(box_areas(first)[:, None] + box_areas(second)[None] - common, 1e-9)
