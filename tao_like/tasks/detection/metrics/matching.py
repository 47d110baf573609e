"""Which boxes are right: at an overlap of one half, each object is found once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tao_like.runtime.geometry.boxes import box_areas, box_iou
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.common.classes.class_scores import ClassScores
from tao_like.tasks.detection.data.dataset import GroundTruth

RIGHT_IOU = 0.5
"""Intersection over union from which on a box is right."""


@dataclass(frozen=True)
class Comparison:
    """The boxes found on an image beside what is on it; measured once for all ways of matching.

    Attributes:
        scores: (M,), falling.
        labels: (M,) class numbers.
        object_labels: (G,) of the objects, without crowds and regions to ignore.
        iou: (M, G) intersection over union of every box with every object.
        region_labels: (R,) of crowds and regions to ignore; -1: of every class.
        on_region: (M, R) whether half of a box or more lies on a region.
    """

    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    object_labels: npt.NDArray[np.int64]
    iou: npt.NDArray[np.floating]
    region_labels: npt.NDArray[np.int64]
    on_region: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, found: Detections, target: GroundTruth) -> Comparison:
        """Measures boxes, by descending score and in pixels of the image, against its objects."""
        objects = target.arrays.select(~target.arrays.crowd)
        regions = target.arrays.select(target.arrays.crowd)
        return cls(
            found.scores,
            found.labels,
            objects.labels,
            box_iou(found.boxes, objects.boxes),
            regions.labels,
            _on_region(found.boxes, regions.boxes),
        )

    def right(self, iou: float, second_choice: bool) -> npt.NDArray[np.bool_]:
        """(M,) whether a box finds an object of its class that no box of a higher score has found.

        Args:
            iou: from which on a box finds an object.
            second_choice: a box whose nearest object is found already may find another, as in COCO; False:
                it is wrong, as in VOC.
        """
        of_class = np.where(self.labels[:, None] == self.object_labels, self.iou, -1.0)
        free = np.ones(len(self.object_labels), np.bool_)
        right = np.zeros(len(self.scores), np.bool_)
        for box in np.flatnonzero((of_class >= iou).any(axis=1)):
            candidates = np.where(free, of_class[box], -1.0) if second_choice else of_class[box]
            nearest = int(candidates.argmax())
            if candidates[nearest] >= iou and free[nearest]:
                free[nearest] = False
                right[box] = True
        return right

    def on_own_region(self) -> npt.NDArray[np.bool_]:
        """(M,) whether a box lies on a crowd of its class or a region to ignore."""
        of_class = (self.region_labels == self.labels[:, None]) | (self.region_labels < 0)
        covered: npt.NDArray[np.bool_] = (self.on_region & of_class).any(axis=1)
        return covered

    def confused(
        self, thresholds: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Pairs of target class and predicted class; the number of classes stands for "nothing".

        Boxes at or above the threshold of their class are matched with objects of any class, the largest
        overlap first. A box that finds nothing but lies on a region is left out.
        """
        nothing = len(thresholds)
        boxes = np.flatnonzero(self.scores >= thresholds[self.labels])
        iou = self.iou[boxes]
        pairs = np.argwhere(iou >= RIGHT_IOU)
        order = np.argsort(-iou[tuple(pairs.T)], kind="stable")
        object_of = np.full(len(boxes), -1)
        box_of = np.full(len(self.object_labels), -1)
        for box, item in pairs[order].tolist():
            if object_of[box] < 0 and box_of[item] < 0:
                object_of[box], box_of[item] = item, box
        found = np.flatnonzero(object_of >= 0)
        wrong = np.flatnonzero((object_of < 0) & ~self.on_region[boxes].any(axis=1))
        missed = np.flatnonzero(box_of < 0)
        targets = [
            self.object_labels[object_of[found]],
            np.full(len(wrong), nothing),
            self.object_labels[missed],
        ]
        predicted = [
            self.labels[boxes[found]],
            self.labels[boxes[wrong]],
            np.full(len(missed), nothing),
        ]
        return np.concatenate(targets), np.concatenate(predicted)


class Matches:
    """Which boxes are right, gathered image by image.

    A box that finds nothing but lies on a crowd or a region to ignore is neither right nor wrong.

    Args:
        num_classes: number of classes.
        iou: from which on a box is right.
        second_choice: see ``Comparison.right``.
    """

    def __init__(self, num_classes: int, *, iou: float = RIGHT_IOU, second_choice: bool = True) -> None:
        self.iou = iou
        self.second_choice = second_choice
        self.objects = np.zeros(num_classes, np.int64)
        """Objects of each class."""
        self._scores: list[npt.NDArray[np.float32]] = []
        self._labels: list[npt.NDArray[np.int64]] = []
        self._right: list[npt.NDArray[np.bool_]] = []

    def add(self, image: Comparison) -> None:
        """Takes in an image."""
        self.objects += np.bincount(image.object_labels, minlength=len(self.objects))
        right = image.right(self.iou, self.second_choice)
        counts = right | ~image.on_own_region()
        self._scores.append(image.scores[counts])
        self._labels.append(image.labels[counts])
        self._right.append(right[counts])

    def merge(self, other: Matches) -> None:
        """Takes in what another has."""
        self.objects += other.objects
        self._scores += other._scores
        self._labels += other._labels
        self._right += other._right

    def by_class(self) -> list[ClassScores]:
        """All boxes of each class by descending score; of equal scores the earlier image comes first."""
        scores = np.concatenate([np.zeros(0), *self._scores]).astype(np.float64)
        labels = np.concatenate([np.zeros(0, np.int64), *self._labels])
        right = np.concatenate([np.zeros(0, np.bool_), *self._right])
        return [
            ClassScores.ordered(scores[labels == number], right[labels == number], int(objects))
            for number, objects in enumerate(self.objects)
        ]


def _on_region(boxes: npt.NDArray[np.float32], regions: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    sides = np.minimum(boxes[:, None, 2:], regions[None, :, 2:]) - np.maximum(
        boxes[:, None, :2], regions[None, :, :2]
    )
    common = np.clip(sides, 0, None).prod(axis=2)
    covered: npt.NDArray[np.bool_] = common / np.maximum(box_areas(boxes), 1e-9)[:, None] >= RIGHT_IOU
    return covered
