"""Photos and their masks as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample
from tao_like.data.images.cache import ImageStore
from tao_like.data.images.sample import sample_names
from tao_like.data.masks.reading import read_class_map
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.values import IGNORE, ClassMap, MaskCoding
from tao_like.runtime.inputs.image import ImagePreprocessing, letterbox_region, preprocess
from tao_like.tasks.common.image_input import IMAGE
from tao_like.tasks.segmentation.data.targets import MaskTarget, SegmentationTargets

Augment = Callable[[Image.Image, ClassMap], tuple[npt.NDArray[np.uint8], ClassMap]]
"""Changes a training photo and its mask at random; gives both at the size of the input."""


@dataclass(frozen=True)
class Item:
    """A preprocessed photo.

    Attributes:
        pixels: (H, W, 3) uint8.
        mask: (H, W) class numbers: what a network is to learn.
        target: what predictions are held against.
        index: number of the sample in its dataset.
    """

    pixels: npt.NDArray[np.uint8]
    mask: ClassMap
    target: MaskTarget
    index: int


class SegmentationDataset:
    """Records as preprocessed photos and masks.

    Args:
        records: photos and their masks.
        coding: what the values of masks mean.
        preprocessing: how photos become inputs.
        store: reads photos, perhaps from a cache.
        augment: what changes training photos; None: preprocessed as for evaluation.
    """

    def __init__(
        self,
        records: Sequence[MaskRecord],
        coding: MaskCoding,
        preprocessing: ImagePreprocessing,
        store: ImageStore,
        *,
        augment: Augment | None = None,
    ) -> None:
        self.records = list(records)
        self.names = sample_names(self.records)
        self.coding = coding
        self.preprocessing = preprocessing
        self.store = store
        self.augment = augment

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        sample, target = self._read(index)
        if self.augment is None:
            pixels = preprocess(sample.data, self.preprocessing)
            return Item(pixels, preprocessed_mask(sample.target.classes, self.preprocessing), target, index)
        pixels, mask = self.augment(sample.data, sample.target.classes)
        return Item(pixels, mask, MaskTarget(target.width, target.height, None, target.image), index)

    def _read(self, index: int) -> tuple[Sample, MaskTarget]:
        """What the network looks at, and what predictions are held against."""
        sample = self.sample(index)
        return sample, sample.target

    def key(self, index: int) -> str:
        """The photo's path below the data's root."""
        return self.names[index]

    def sample(self, index: int) -> Sample:
        """The photo as it is on disk, with its target."""
        record = self.records[index]
        image = self.store.read(record.path)
        classes = read_class_map(record, self.coding, image.size)
        return Sample(self.names[index], image, MaskTarget(image.width, image.height, classes))


def preprocessed_mask(classes: ClassMap, preprocessing: ImagePreprocessing) -> ClassMap:
    """A class map as `preprocess` scales and pads its photo; nearest pixels, and `IGNORE` in the borders."""
    image = Image.fromarray(classes)
    size = (preprocessing.width, preprocessing.height)
    if preprocessing.resize == "squash":
        return np.asarray(image.resize(size, Image.Resampling.NEAREST))
    left, top, width, height = letterbox_region(image.width, image.height, preprocessing)
    canvas = Image.new("L", size, IGNORE)
    canvas.paste(image.resize((width, height), Image.Resampling.NEAREST), (left, top))
    return np.asarray(canvas)


def collate_items(items: Sequence[Any]) -> Batch[SegmentationTargets]:
    """Joins items to a batch; pixels become (N, 3, H, W) in channels-last memory, without a copy."""
    pixels = torch.from_numpy(np.stack([item.pixels for item in items])).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.stack([item.mask for item in items]))
    targets = SegmentationTargets(masks, [item.target for item in items])
    return Batch({IMAGE: pixels}, targets, torch.tensor([item.index for item in items]))
