"""Panoptic quality (Kirillov et al. 2019), and IoU by class of the same segments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tao_like.data.masks.runs import decode_runs
from tao_like.tasks.instance_segmentation.data.dataset import InstanceTarget

PANOPTIC_NAMES = ("PQ", "SQ", "RQ", "segment_mIoU")
MATCH = 0.5
"""Segments match whose IoU is above this; there is then at most one match for each."""
Masks = Sequence[npt.NDArray[np.bool_]]


class PanopticQuality:
    """Counts over images: PQ = sum of IoU of matches / (TP + FP / 2 + FN / 2) = SQ * RQ, by class, then mean.

    Pixels of crowds are void. So are pixels that no segment of the target covers where some classes are
    regions, since those label every pixel that is known; where all are objects, such pixels are ground, on
    which a prediction is wrong. As in panopticapi, void pixels are no part of a union, and an unmatched
    segment that is void by more than half is no false positive.

    Args:
        num_classes: of the data.
        regions: numbers of the classes whose objects on an image are one segment.
    """

    def __init__(self, num_classes: int, regions: frozenset[int]) -> None:
        self.regions = regions
        self.iou = np.zeros(num_classes)
        self.tp, self.fp, self.fn = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.common, self.union = (np.zeros(num_classes, np.int64) for _ in range(2))
        """Pixels by class, for IoU without a look at segments."""

    def add(self, masks: Masks, labels: npt.NDArray[np.int64], target: InstanceTarget) -> None:
        """Takes in an image.

        Args:
            masks: of predicted segments, (H, W) without common pixels.
            labels: (P,) class numbers of these.
            target: what is on the image, in its own pixels.
        """
        owner = np.zeros((target.height, target.width), np.int64)
        for number, mask in enumerate(masks, start=1):
            owner[mask] = number
        wanted, classes = self._wanted(target)
        size = (len(classes) + 2, len(masks) + 1)
        pairs = np.bincount((wanted * size[1] + owner).ravel(), minlength=size[0] * size[1]).reshape(size)
        self._count(pairs, np.asarray(classes, np.int64), np.asarray(labels, np.int64))

    def _wanted(self, target: InstanceTarget) -> tuple[npt.NDArray[np.int64], list[int]]:
        """(H, W) numbers of the target's segments from 2 on, 0 void, 1 ground; and the segments' classes."""
        wanted = np.full((target.height, target.width), 0 if self.regions else 1, np.int64)
        classes: list[int] = []
        of_region: dict[int, int] = {}
        objects = target.arrays
        for runs, label, crowd in zip(
            target.runs, objects.labels.tolist(), objects.crowd.tolist(), strict=True
        ):
            mask = decode_runs(runs) > 0
            if crowd:
                wanted[mask] = 0
            elif label in of_region:
                wanted[mask] = of_region[label]
            else:
                classes.append(label)
                wanted[mask] = len(classes) + 1
                if label in self.regions:
                    of_region[label] = len(classes) + 1
        return wanted, classes

    def _count(
        self, pairs: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
    ) -> None:
        """Adds an image by its pixels (2 + G, 1 + P) of each segment of the target and of the prediction."""
        of_target, of_found = pairs.sum(axis=1)[2:], pairs.sum(axis=0)[1:]
        void, common = pairs[0, 1:], pairs[2:, 1:]
        union = of_target[:, None] + of_found[None, :] - common - void[None, :]
        iou = np.where(classes[:, None] == labels[None, :], common / np.maximum(union, 1), 0.0)
        rows, columns = np.nonzero(iou > MATCH)
        np.add.at(self.iou, classes[rows], iou[rows, columns])
        np.add.at(self.tp, classes[rows], 1)
        missed = np.ones(len(classes), np.bool_)
        missed[rows] = False
        # A segment of the target that others cover wholly cannot be found.
        np.add.at(self.fn, classes[missed & (of_target > 0)], 1)
        wrong = 2 * void <= of_found
        wrong[columns] = False
        np.add.at(self.fp, labels[wrong], 1)
        for label in range(len(self.iou)):
            found, there = labels == label, classes == label
            shared = int(common[np.ix_(there, found)].sum())
            self.common[label] += shared
            self.union[label] += int(of_target[there].sum() + (of_found - void)[found].sum()) - shared

    def merge(self, other: PanopticQuality) -> None:
        """Takes in another's counts."""
        for name in ("iou", "tp", "fp", "fn", "common", "union"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def compute(self) -> tuple[dict[str, float], list[dict[str, float]]]:
        """The means over classes that occur in target or prediction, and the values of each class."""
        by_class = [self._of_class(label) for label in range(len(self.iou))]
        totals = {}
        for name in PANOPTIC_NAMES:
            values = [value for each in by_class if not math.isnan(value := each[name])]
            totals[name] = float(np.mean(values)) if values else math.nan
        return totals, by_class

    def _of_class(self, label: int) -> dict[str, float]:
        tp, union = int(self.tp[label]), int(self.union[label])
        weight = tp + (int(self.fp[label]) + int(self.fn[label])) / 2
        quality = float(self.iou[label]) / tp if tp else 0.0
        rate = tp / weight if weight else math.nan
        return {
            "PQ": quality * rate,
            "SQ": quality if weight else math.nan,
            "RQ": rate,
            "segment_mIoU": int(self.common[label]) / union if union else math.nan,
        }
