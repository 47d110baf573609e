"""Pictures and their labels as a dataset, and what is changed at random in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision.transforms import InterpolationMode, v2

from tao_like.contract.batch import Batch
from tao_like.contract.sample import Sample
from tao_like.data.images.cache import ImageStore
from tao_like.data.images.readers import ImageRecord
from tao_like.runtime.inputs.image import ImagePreparation, prepare
from tao_like.tasks.classification.spec import AugmentationSpec, RandomCropSpec
from tao_like.tasks.common.image_input import IMAGE

Item = tuple[np.ndarray, np.ndarray, int]
"""A prepared picture (H, W, 3) uint8, its target, and its number."""

INTERPOLATIONS = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}


BLUR_KERNEL = 9
BLUR_SIGMAS = (0.1, 2.0)
"""Side of the kernel in pixels, and range of its standard deviation, as in SimCLR (Chen et al. 2020)."""


class RotateByChoice(nn.Module):
    """Rotates a picture by one angle of a list, counter-clockwise, about its centre.

    Args:
        angles: in degrees.
        probability: chance that a picture is rotated at all.
    """

    def __init__(self, angles: Sequence[float], probability: float) -> None:
        super().__init__()
        self.angles = list(angles)
        self.probability = probability

    def forward(self, image: Image.Image) -> Image.Image:
        """The picture, rotated or as it was."""
        if not self.angles or torch.rand(()) >= self.probability:
            return image
        angle = self.angles[int(torch.randint(len(self.angles), ()))]
        return v2.functional.rotate(image, angle, interpolation=InterpolationMode.BILINEAR)


def area_shares(spec: RandomCropSpec) -> tuple[float, float]:
    """The crop's smallest and largest share of the area.

    TAO's factors from 1 up enlarge the picture before a crop of the former size is cut: a factor f
    leaves 1 / f**2 of the area.
    """
    low, high = spec.scale_range
    if low >= 1:
        return 1 / high**2, 1 / low**2
    return low, high


class Augmentation:
    """Turns a picture into a training input; draws from torch's global generator.

    Args:
        spec: what to change, and how much.
        preparation: size of the input, and how pictures become it where no crop is drawn.
    """

    def __init__(self, spec: AugmentationSpec, preparation: ImagePreparation) -> None:
        self.preparation = preparation
        size = (preparation.height, preparation.width)
        crop, flip, rotate, colour = (
            spec.with_scale_random_crop,
            spec.random_flip,
            spec.random_rotate,
            spec.random_color,
        )
        self.crop = (
            v2.RandomResizedCrop(
                size,
                scale=area_shares(crop),
                ratio=tuple(crop.ratio_range),
                interpolation=INTERPOLATIONS[preparation.interpolation],
            )
            if crop.enable
            else None
        )
        steps: list[nn.Module] = []
        if flip.enable:
            steps += [
                v2.RandomHorizontalFlip(flip.hflip_probability),
                v2.RandomVerticalFlip(flip.vflip_probability),
            ]
        if rotate.enable and rotate.max_angle:
            turn = v2.RandomRotation(rotate.max_angle, interpolation=InterpolationMode.BILINEAR)
            steps.append(v2.RandomApply([turn], rotate.rotate_probability))
        elif rotate.enable:
            steps.append(RotateByChoice(rotate.angle_list, rotate.rotate_probability))
        if colour.enable:
            jitter = v2.ColorJitter(colour.brightness, colour.contrast, colour.saturation, colour.hue)
            steps.append(v2.RandomApply([jitter], colour.color_probability))
        if spec.with_random_blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(BLUR_KERNEL, BLUR_SIGMAS)], 0.5))
        if spec.random_aug.enable:
            steps.append(v2.RandAugment(spec.random_aug.num_ops, spec.random_aug.magnitude))
        self.steps = steps
        self.erase = (
            v2.RandomErasing(spec.random_erase.erase_probability) if spec.random_erase.enable else None
        )

    def __call__(self, image: Image.Image) -> np.ndarray:
        """The picture as (H, W, 3) uint8."""
        image = self.crop(image) if self.crop else Image.fromarray(prepare(image, self.preparation))
        for step in self.steps:
            image = step(image)
        pixels = np.array(image)
        if self.erase is not None:
            erased = self.erase(torch.from_numpy(pixels).permute(2, 0, 1))
            pixels = erased.permute(1, 2, 0).numpy()
        return pixels


class ImageDataset:
    """Records as prepared pictures and targets.

    Args:
        records: pictures and their labels.
        classes: class names in the order of the outputs; every label must be among them.
        preparation: how pictures become inputs.
        store: reads pictures, perhaps from a cache.
        multi_label: targets are rows of 0 and 1 instead of class numbers.
        augment: what changes training pictures; None: prepared as for evaluation.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        classes: Sequence[str],
        preparation: ImagePreparation,
        store: ImageStore,
        *,
        multi_label: bool,
        augment: Callable[[Image.Image], np.ndarray] | None = None,
    ) -> None:
        self.records = list(records)
        self.classes = list(classes)
        self.preparation = preparation
        self.store = store
        self.augment = augment
        numbers = {name: number for number, name in enumerate(classes)}
        self.targets = [_target(record, numbers, multi_label) for record in self.records]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Item:
        image = self.store.read(self.records[index].path)
        pixels = self.augment(image) if self.augment else prepare(image, self.preparation)
        return pixels, self.targets[index], index

    def key(self, index: int) -> str:
        """The image's path below the data's root."""
        return self.records[index].key

    def sample(self, index: int) -> Sample:
        """The picture as it is on disk, with its target."""
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
