"""Images and their boxes as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample
from tao_like.data.boxes.annotation import BoxArrays, BoxRecord, usable_boxes
from tao_like.data.images.cache import ImageStore
from tao_like.data.images.sample import sample_names
from tao_like.runtime.geometry.boxes import letterbox_transform
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.tasks.common.augmentation.annotations import Annotations, LabeledImage
from tao_like.tasks.common.augmentation.scenes import SceneAugmentation
from tao_like.tasks.common.image_input import IMAGE


@dataclass(frozen=True)
class GroundTruth:
    """What is on an image, in its own pixels: what predictions are held against.

    Attributes:
        arrays: boxes in pixels of the original image.
        width: of the original image.
        height: likewise.
        image: number of the image in its dataset, where what the network sees is a tile of it.
    """

    arrays: BoxArrays
    width: int
    height: int
    image: int | None = None


@dataclass(frozen=True)
class DetectionTargets:
    """The targets of a batch.

    Attributes:
        boxes: of each image (G, 4), in pixels of the input: what a network is to learn.
        labels: of each image (G,) class numbers.
        ground_truth: of each image, what predictions are held against.
        plain: whether all are without strong augmentation.
        epoch: in which the samples were made.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    ground_truth: list[GroundTruth]
    plain: bool
    epoch: int


@dataclass(frozen=True)
class Item:
    """A preprocessed image.

    Attributes:
        pixels: (H, W, 3) uint8.
        boxes: (G, 4) in pixels of the input: what a network is to learn.
        labels: (G,) class numbers.
        ground_truth: what predictions are held against.
        index: number of the sample in its dataset.
        epoch: in which it was made.
        plain: without strong augmentation.
    """

    pixels: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    ground_truth: GroundTruth
    index: int
    epoch: int
    plain: bool


class DetectionDataset:
    """Records as preprocessed images and boxes.

    Args:
        records: images and their boxes.
        classes: class names in the order of the outputs.
        preprocessing: how images become inputs.
        store: reads images, perhaps from a cache.
        augment: what changes training images; None: preprocessed as for evaluation.
        strong_epochs: epochs from the first on with strong augmentation.
    """

    def __init__(
        self,
        records: Sequence[BoxRecord],
        classes: Sequence[str],
        preprocessing: ImagePreprocessing,
        store: ImageStore,
        *,
        augment: SceneAugmentation | None = None,
        strong_epochs: int = 0,
    ) -> None:
        self.records = list(records)
        self.names = sample_names(self.records)
        self.preprocessing = preprocessing
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
        sample, ground_truth = self._read(index)
        if self.augment is None:
            transform = letterbox_transform(sample.data.width, sample.data.height, self.preprocessing)
            learnt = _learnt(sample)
            pixels, boxes = preprocess(sample.data, self.preprocessing), transform.to_input(learnt.boxes)
            return Item(pixels, boxes, learnt.labels, ground_truth, index, self.epoch, plain=True)
        plain = self.epoch >= self.strong_epochs
        changed = self.augment(self.labeled(sample), self._another, strong=not plain)
        assert isinstance(changed.target, Annotations)
        pixels, target = np.array(changed.image), changed.target
        return Item(
            pixels, target.boxes.numpy(), target.labels.numpy(), ground_truth, index, self.epoch, plain
        )

    def labeled(self, sample: Sample) -> LabeledImage:
        """What a network is to learn of a sample."""
        learnt = _learnt(sample)
        return LabeledImage(sample.data, Annotations.of(learnt.boxes, learnt.labels, sample.data.size))

    def _another(self) -> LabeledImage:
        return self.labeled(self.sample(int(torch.randint(len(self), ()))))

    def _read(self, index: int) -> tuple[Sample, GroundTruth]:
        """What the network looks at, and what predictions are held against."""
        sample = self.sample(index)
        return sample, sample.target

    def key(self, index: int) -> str:
        """The image's path below the data's root."""
        return self.names[index]

    def sample(self, index: int) -> Sample:
        """The image as it is on disk, with its target."""
        record = self.records[index]
        image = self.store.read(record.path)
        arrays = usable_boxes(record.boxes, self.numbers, image.width, image.height)
        return Sample(self.names[index], image, GroundTruth(arrays, image.width, image.height))


def _learnt(sample: Sample) -> BoxArrays:
    """What a network is to learn of a sample: without crowds and regions to ignore."""
    arrays: BoxArrays = sample.target.arrays
    return arrays.select(~arrays.crowd)


def collate_items(items: Sequence[Item]) -> Batch[DetectionTargets]:
    """Joins items to a batch; pixels become (N, 3, H, W) in channels-last memory, without a copy."""
    pixels = torch.from_numpy(np.stack([item.pixels for item in items])).permute(0, 3, 1, 2)
    targets = DetectionTargets(
        boxes=[torch.from_numpy(item.boxes) for item in items],
        labels=[torch.from_numpy(item.labels) for item in items],
        ground_truth=[item.ground_truth for item in items],
        plain=all(item.plain for item in items),
        epoch=items[0].epoch,
    )
    return Batch({IMAGE: pixels}, targets, torch.tensor([item.index for item in items]))
