"""LiDAR frames and their boxes as a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tao_like.contract.task import Batch, Sample
from tao_like.data.lidar.frame import (
    Calibration,
    FrameObjects,
    LidarRecord,
    frame_objects,
    points_of,
)
from tao_like.runtime.geometry.boxes3d import Boxes
from tao_like.runtime.inputs.points import Points, PointsPreparation, prepare_points, read_points
from tao_like.tasks.pointpillars.data.augmentation import Augmentation, Scene


@dataclass(frozen=True)
class Truth:
    """What is in a frame.

    Attributes:
        objects: all of them, of the classes and others.
        calibration: where there is a camera.
        ignored_boxes: (M, 4) regions of its picture where nothing is labelled, in pixels.
        image: the camera's picture, where there is one.
    """

    objects: FrameObjects
    calibration: Calibration | None = None
    ignored_boxes: tuple[tuple[float, ...], ...] = ()
    image: Path | None = None


@dataclass(frozen=True)
class Item:
    """A prepared frame.

    Attributes:
        points: (N, 4).
        boxes: (G, 7) that a network is to learn.
        labels: (G,) class numbers.
        truth: what answers are held against.
        index: number of the frame in its dataset.
    """

    points: Points
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    truth: Truth
    index: int


class FrameDataset:
    """Records as prepared frames and boxes.

    Args:
        records: frames and their objects.
        classes: class names in the order of the outputs.
        renamed: label of the data to the class that it counts as.
        preparation: how frames become inputs.
        remove_outside_boxes: boxes whose centre lies outside the range are not learnt.
        augment: what changes training frames; None: prepared as for evaluation.
    """

    def __init__(
        self,
        records: Sequence[LidarRecord],
        classes: Sequence[str],
        renamed: Mapping[str, str],
        preparation: PointsPreparation,
        *,
        remove_outside_boxes: bool = True,
        augment: Augmentation | None = None,
    ) -> None:
        self.records = list(records)
        self.classes = list(classes)
        self.renamed = dict(renamed)
        self.preparation = preparation
        self.remove_outside_boxes = remove_outside_boxes
        self.augment = augment

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        sample = self.sample(index)
        truth: Truth = sample.target
        learnt = truth.objects.learnt
        scene = Scene(sample.data, truth.objects.boxes[learnt], truth.objects.labels[learnt])
        if self.augment is not None:
            scene = self.augment(scene)
        inside = self._is_inside(scene.boxes)
        return Item(
            prepare_points(scene.points, self.preparation),
            scene.boxes[inside].astype(np.float32),
            scene.labels[inside],
            truth,
            index,
        )

    def _is_inside(self, boxes: Boxes) -> npt.NDArray[np.bool_]:
        if not self.remove_outside_boxes:
            return np.ones(len(boxes), bool)
        low, high = np.split(np.array(self.preparation.point_cloud_range), 2)
        # A box whose centre is too high or too low would still be seen; its place on the ground counts.
        inside = (boxes[:, :2] >= low[:2]) & (boxes[:, :2] < high[:2])
        return inside[:, 0] & inside[:, 1]

    def sample(self, index: int) -> Sample:
        """The frame as it is on disk, with its truth."""
        record = self.records[index]
        points = points_of(record, read_points(record.path, self.preparation))
        objects = frame_objects(record.objects, self.classes, self.renamed)
        return Sample(
            record.name, points, Truth(objects, record.calibration, record.ignored_boxes, record.image)
        )


def numbered_points(frames: Sequence[Points]) -> torch.Tensor:
    """Frames (N, 4) as one tensor (P, 5) whose first column is the number of the frame."""
    numbers = np.repeat(np.arange(len(frames), dtype=np.float32), [len(frame) for frame in frames])
    points = np.concatenate([np.empty((0, 4), np.float32), *frames])
    return torch.from_numpy(np.concatenate([numbers[:, None], points], axis=1))


def collate_items(items: Sequence[Item]) -> Batch:
    """Joins items to a batch; its inputs are ``numbered_points``.

    Its targets: ``boxes`` and ``labels``, a tensor for each frame; ``truths``.
    """
    targets = {
        "boxes": [torch.from_numpy(item.boxes) for item in items],
        "labels": [torch.from_numpy(item.labels) for item in items],
        "truths": [item.truth for item in items],
    }
    return Batch(
        numbered_points([item.points for item in items]),
        targets,
        torch.tensor([item.index for item in items]),
    )


def frames_of(inputs: torch.Tensor, count: int) -> list[Points]:
    """The frames that ``numbered_points`` joined."""
    values = inputs.cpu().numpy()
    ends = np.searchsorted(values[:, 0], np.arange(1, count))
    return [np.ascontiguousarray(part[:, 1:]) for part in np.split(values, ends)]
