"""LiDAR frames and their boxes as a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample
from tao_like.data.lidar.frame import (
    Calibration,
    FrameObjects,
    LidarRecord,
    frame_objects,
    points_of,
)
from tao_like.runtime.geometry.boxes3d import Boxes
from tao_like.runtime.inputs.points import Points, PointsPreprocessing, preprocess_points, read_points
from tao_like.tasks.pointpillars.data.augmentation import Augmentation, Scene
from tao_like.tasks.pointpillars.points_input import POINTS, numbered_points


@dataclass(frozen=True)
class FrameTarget:
    """What is in a frame.

    Attributes:
        objects: all of them, of the classes and others.
        calibration: where there is a camera.
        ignored_boxes: (M, 4) regions of its image where nothing is labelled, in pixels.
        image: the camera's image, where there is one.
    """

    objects: FrameObjects
    calibration: Calibration | None = None
    ignored_boxes: tuple[tuple[float, ...], ...] = ()
    image: Path | None = None

    @property
    def boxes(self) -> Boxes:
        """(G, 7): those of the classes."""
        return self.objects.boxes[self.objects.learnt]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(G,): class numbers of these boxes."""
        return self.objects.labels[self.objects.learnt]


@dataclass(frozen=True)
class FrameTargets:
    """What is in the frames of a batch.

    Attributes:
        boxes: (G, 7) of each frame that a network is to learn.
        labels: (G,) class numbers of each frame.
        frames: what predictions are held against.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    frames: list[FrameTarget]


@dataclass(frozen=True)
class Item:
    """A preprocessed frame.

    Attributes:
        points: (N, 4).
        boxes: (G, 7) that a network is to learn.
        labels: (G,) class numbers.
        target: what predictions are held against.
        index: number of the frame in its dataset.
    """

    points: Points
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    target: FrameTarget
    index: int


class FrameDataset:
    """Records as preprocessed frames and boxes.

    Args:
        records: frames and their objects.
        classes: class names in the order of the outputs.
        renamed: label of the data to the class that it counts as.
        preprocessing: how frames become inputs.
        remove_outside_boxes: boxes whose center lies outside the range are not learnt.
        augment: what changes training frames; None: preprocessed as for evaluation.
    """

    def __init__(
        self,
        records: Sequence[LidarRecord],
        classes: Sequence[str],
        renamed: Mapping[str, str],
        preprocessing: PointsPreprocessing,
        *,
        remove_outside_boxes: bool = True,
        augment: Augmentation | None = None,
    ) -> None:
        self.records = list(records)
        self.classes = list(classes)
        self.renamed = dict(renamed)
        self.preprocessing = preprocessing
        self.remove_outside_boxes = remove_outside_boxes
        self.augment = augment

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        sample = self.sample(index)
        target: FrameTarget = sample.target
        scene = Scene(sample.data, target.boxes, target.labels)
        if self.augment is not None:
            scene = self.augment(scene)
        inside = self._is_inside(scene.boxes)
        return Item(
            preprocess_points(scene.points, self.preprocessing),
            scene.boxes[inside].astype(np.float32),
            scene.labels[inside],
            target,
            index,
        )

    def _is_inside(self, boxes: Boxes) -> npt.NDArray[np.bool_]:
        if not self.remove_outside_boxes:
            return np.ones(len(boxes), bool)
        low, high = np.split(np.array(self.preprocessing.point_cloud_range), 2)
        # A box whose center is too high or too low would still be seen; its position on the ground counts.
        inside = (boxes[:, :2] >= low[:2]) & (boxes[:, :2] < high[:2])
        return inside[:, 0] & inside[:, 1]

    def key(self, index: int) -> str:
        """The name of a frame."""
        return self.records[index].name

    def sample(self, index: int) -> Sample:
        """The frame as it is on disk, with its target."""
        record = self.records[index]
        points = points_of(record, read_points(record.path, self.preprocessing))
        objects = frame_objects(record.objects, self.classes, self.renamed)
        target = FrameTarget(objects, record.calibration, record.ignored_boxes, record.image)
        return Sample(record.name, points, target)


def collate_frames(items: Sequence[Item]) -> Batch[FrameTargets]:
    """Joins items to a batch; its input is ``numbered_points``."""
    targets = FrameTargets(
        [torch.from_numpy(item.boxes) for item in items],
        [torch.from_numpy(item.labels) for item in items],
        [item.target for item in items],
    )
    points = numbered_points([item.points for item in items])
    return Batch({POINTS: points}, targets, torch.tensor([item.index for item in items]))
