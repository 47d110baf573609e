"""Pictures and their boxes as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tao_like.contract.task import Batch, Sample
from tao_like.data.boxes.annotation import BoxArrays, BoxRecord, usable_boxes
from tao_like.data.images.cache import ImageStore
from tao_like.data.images.sample import sample_names
from tao_like.runtime.geometry.boxes import placement
from tao_like.runtime.inputs.image import ImagePreparation, prepare
from tao_like.tasks.detection.data.augmentation import Augmentation, Labelled


@dataclass(frozen=True)
class Truth:
    """What is on a picture.

    Attributes:
        arrays: boxes in pixels of the original picture.
        width: of the original picture.
        height: likewise.
        picture: number of the picture in its dataset, where what the network sees is a tile of it.
    """

    arrays: BoxArrays
    width: int
    height: int
    picture: int | None = None


@dataclass(frozen=True)
class Item:
    """A prepared picture.

    Attributes:
        pixels: (H, W, 3) uint8.
        boxes: (G, 4) in pixels of the input: what a network is to learn.
        labels: (G,) class numbers.
        truth: what answers are held against.
        index: number of the picture in its dataset.
        epoch: in which it was made.
        plain: without strong augmentation.
    """

    pixels: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    truth: Truth
    index: int
    epoch: int
    plain: bool


class DetectionDataset:
    """Records as prepared pictures and boxes.

    Args:
        records: pictures and their boxes.
        classes: class names in the order of the outputs.
        preparation: how pictures become inputs.
        store: reads pictures, perhaps from a cache.
        augment: what changes training pictures; None: prepared as for evaluation.
        strong_epochs: epochs from the first on with strong augmentation.
    """

    def __init__(
        self,
        records: Sequence[BoxRecord],
        classes: Sequence[str],
        preparation: ImagePreparation,
        store: ImageStore,
        *,
        augment: Augmentation | None = None,
        strong_epochs: int = 0,
    ) -> None:
        self.records = list(records)
        self.names = sample_names(self.records)
        self.preparation = preparation
        self.store = store
        self.augment = augment
        self.strong_epochs = strong_epochs
        self.epoch = 0
        self.numbers = {name: number for number, name in enumerate(classes)}

    def __len__(self) -> int:
        return len(self.records)

    def set_epoch(self, epoch: int) -> None:
        """Says in which epoch the next samples are; called for every sample of a training."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Item:
        sample, truth = self._read(index)
        learnt = self._labelled(sample)
        if self.augment is None:
            place = placement(sample.data.width, sample.data.height, self.preparation)
            pixels = prepare(sample.data, self.preparation)
            boxes, plain = place.to_input(learnt.boxes), True
        else:
            plain = self.epoch >= self.strong_epochs
            learnt = self.augment(learnt, self._another, strong=not plain)
            pixels, boxes = np.array(learnt.image), learnt.boxes
        return Item(pixels, boxes, learnt.labels, truth, index, self.epoch, plain)

    def _another(self) -> Labelled:
        return self._labelled(self.sample(int(torch.randint(len(self), ()))))

    @staticmethod
    def _labelled(sample: Sample) -> Labelled:
        """What a network is to learn of a sample: without crowds and regions to ignore."""
        learnt = sample.target.arrays.select(~sample.target.arrays.crowd)
        return Labelled(sample.data, learnt.boxes, learnt.labels)

    def _read(self, index: int) -> tuple[Sample, Truth]:
        """What the network looks at, and what answers are held against."""
        sample = self.sample(index)
        return sample, sample.target

    def sample(self, index: int) -> Sample:
        """The picture as it is on disk, with its truth."""
        record = self.records[index]
        image = self.store.read(record.path)
        arrays = usable_boxes(record.boxes, self.numbers, image.width, image.height)
        return Sample(self.names[index], image, Truth(arrays, image.width, image.height))


def collate_items(items: Sequence[Item]) -> Batch:
    """Joins items to a batch; pixels become (N, 3, H, W) in channels-last memory, without a copy.

    Its targets: ``boxes`` and ``labels``, a tensor for each picture; ``truths``; ``plain``; ``epoch``.
    """
    pixels = torch.from_numpy(np.stack([item.pixels for item in items])).permute(0, 3, 1, 2)
    targets = {
        "boxes": [torch.from_numpy(item.boxes) for item in items],
        "labels": [torch.from_numpy(item.labels) for item in items],
        "truths": [item.truth for item in items],
        "plain": all(item.plain for item in items),
        "epoch": items[0].epoch,
    }
    return Batch(pixels, targets, torch.tensor([item.index for item in items]))
