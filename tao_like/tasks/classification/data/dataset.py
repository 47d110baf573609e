"""Images and their labels as a dataset, and what is changed at random in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample
from tao_like.data.images.cache import ImageStore
from tao_like.data.images.sample import ImageRecord
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.tasks.classification.spec import AugmentationSpec
from tao_like.tasks.common.augmentation.crops import CropAugmentation
from tao_like.tasks.common.image_input import IMAGE

Item = tuple[np.ndarray, np.ndarray, int]
"""A preprocessed image (H, W, 3) uint8, its target, and its number."""


def augmentation_of(spec: AugmentationSpec, preprocessing: ImagePreprocessing) -> CropAugmentation:
    """What changes training images by the spec."""
    return CropAugmentation(
        preprocessing,
        crop=spec.with_scale_random_crop,
        flip=spec.random_flip,
        rotate=spec.random_rotate,
        color=spec.random_color,
        blur=spec.with_random_blur,
        random_aug=spec.random_aug,
        erase=spec.random_erase,
    )


class ImageDataset:
    """Records as preprocessed images and targets.

    Args:
        records: images and their labels.
        classes: class names in the order of the outputs; every label must be among them.
        preprocessing: how images become inputs.
        store: reads images, perhaps from a cache.
        multi_label: targets are rows of 0 and 1 instead of class numbers.
        augment: what changes training images; None: preprocessed as for evaluation.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        preprocessing: ImagePreprocessing,
        store: ImageStore,
        *,
        multi_label: bool,
        augment: Callable[[Image.Image], np.ndarray] | None = None,
    ) -> None:
        self.records = list(records)
        self.classes = list(classes)
        self.preprocessing = preprocessing
        self.store = store
        self.augment = augment
        numbers = {name: number for number, name in enumerate(classes)}
        self.targets = [_target(record, numbers, multi_label) for record in self.records]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        image = self.store.read(self.records[index].path)
        pixels = self.augment(image) if self.augment else preprocess(image, self.preprocessing)
        return pixels, self.targets[index], index

    def key(self, index: int) -> str:
        """The image's path below the data's root."""
        return self.records[index].key

    def sample(self, index: int) -> Sample:
        """The image as it is on disk, with its target."""
        record = self.records[index]
        return Sample(record.key, self.store.read(record.path), self.targets[index])


def _target(record: ImageRecord, numbers: dict[str, int], multi_label: bool) -> np.ndarray:
    if not multi_label:
        return np.asarray(numbers[record.labels[0]], dtype=np.int64)
    row = np.zeros(len(numbers), dtype=np.float32)
    row[[numbers[label] for label in record.labels]] = 1.0
    return row


def collate_images(items: Sequence[Item]) -> Batch[torch.Tensor]:
    """Joins items to a batch; pixels become (N, 3, H, W) in channels-last memory, without a copy."""
    pixels = torch.from_numpy(np.stack([item[0] for item in items])).permute(0, 3, 1, 2)
    targets = torch.from_numpy(np.stack([item[1] for item in items]))
    return Batch({IMAGE: pixels}, targets, torch.tensor([item[2] for item in items]))
