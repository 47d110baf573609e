"""The augmentation of images that are of something as a whole, or whose every pixel has a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from tao_like.config.blocks.augmentation import (
    RandomAugSpec,
    RandomColorSpec,
    RandomCropSpec,
    RandomEraseSpec,
    RandomFlipSpec,
    RandomRotateSpec,
)
from tao_like.runtime.inputs.image import ImagePreprocessing, preprocess
from tao_like.tasks.common.augmentation.annotations import IGNORE, LabeledImage
from tao_like.tasks.common.augmentation.placing import Preprocess

INTERPOLATIONS = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}
BLUR_KERNEL = 9
BLUR_SIGMAS = (0.1, 2.0)
"""Side of the kernel in pixels, and range of its standard deviation, as in SimCLR (Chen et al. 2020)."""
CORNERS = {tv_tensors.Mask: IGNORE, "others": 0}
"""What a rotation puts where the image was not."""


class RandomCrop(v2.RandomResizedCrop):
    """torchvision's, but for masks: they take the pixel whose center is nearest, as Pillow does."""

    @override
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        height, width = self.size
        rows = params["top"] + ((torch.arange(height) + 0.5) * params["height"] / height).long()
        columns = params["left"] + ((torch.arange(width) + 0.5) * params["width"] / width).long()
        return tv_tensors.wrap(inpt[..., rows[:, None], columns], like=inpt)


class RotateByChoice(v2.Transform):
    """Rotates an image by one angle of a list, counter-clockwise, about its center.

    Args:
        angles: in degrees.
        probability: chance that an image is rotated at all.
    """

    def __init__(self, angles: Sequence[float], probability: float) -> None:
        super().__init__()
        self.angles = list(angles)
        self.probability = probability

    @override
    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        if not self.angles or torch.rand(()) >= self.probability:
            return {"angle": None}
        return {"angle": self.angles[int(torch.randint(len(self.angles), ()))]}

    @override
    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if params["angle"] is None:
            return inpt
        fill = CORNERS[tv_tensors.Mask if isinstance(inpt, tv_tensors.Mask) else "others"]
        return self._call_kernel(
            v2.functional.rotate, inpt, params["angle"], interpolation=InterpolationMode.BILINEAR, fill=fill
        )


class PreprocessWhole(v2.Transform):
    """The image as ``preprocess`` of the runtime gives it to a network; what is known of it has no position.

    Args:
        preprocessing: any, ``crop`` too.
    """

    def __init__(self, preprocessing: ImagePreprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    @override
    def forward(self, *inputs: Any) -> LabeledImage:
        (sample,) = inputs
        return LabeledImage(Image.fromarray(preprocess(sample.image, self.preprocessing)), sample.target)


class CropAugmentation(v2.Compose):
    """Turns a ``LabeledImage`` without a target, or with a class a pixel, into a training input.

    Args:
        preprocessing: size of the input, and how images become it where no crop is drawn.
        crop: a crop of random position, size and shape.
        flip: mirror images.
        rotate: rotation; corners that become free are black, and to be ignored in a mask.
        color: changes of light and color.
        blur: blur every other image a little.
        random_aug: RandAugment, for images without a mask.
        erase: a rectangle blotted out, for images without a mask.
    """

    def __init__(
        self,
        preprocessing: ImagePreprocessing,
        *,
        crop: RandomCropSpec,
        flip: RandomFlipSpec,
        rotate: RandomRotateSpec,
        color: RandomColorSpec,
        blur: bool = False,
        random_aug: RandomAugSpec | None = None,
        erase: RandomEraseSpec | None = None,
    ) -> None:
        steps: list[nn.Module] = [_sizing(crop, preprocessing)]
        if flip.enable:
            steps.append(v2.RandomHorizontalFlip(flip.hflip_probability))
            steps.append(v2.RandomVerticalFlip(flip.vflip_probability))
        if rotate.enable and rotate.max_angle:
            turn = v2.RandomRotation(rotate.max_angle, interpolation=InterpolationMode.BILINEAR, fill=CORNERS)
            steps.append(v2.RandomApply([turn], rotate.rotate_probability))
        elif rotate.enable:
            steps.append(RotateByChoice(rotate.angle_list, rotate.rotate_probability))
        if color.enable:
            jitter = v2.ColorJitter(color.brightness, color.contrast, color.saturation, color.hue)
            steps.append(v2.RandomApply([jitter], color.color_probability))
        if blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(BLUR_KERNEL, BLUR_SIGMAS)], 0.5))
        if random_aug and random_aug.enable:
            steps.append(v2.RandAugment(random_aug.num_ops, random_aug.magnitude))
        if erase and erase.enable:
            steps.append(v2.RandomErasing(erase.erase_probability))
        super().__init__(steps)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """An image of which nothing has a position, changed: (H, W, 3) uint8."""
        return np.array(self(LabeledImage(image)).image)


def _sizing(crop: RandomCropSpec, preprocessing: ImagePreprocessing) -> nn.Module:
    """What gives the input's size: a random crop, or the preprocessing of an evaluation."""
    if not crop.enable:
        return (PreprocessWhole if preprocessing.resize == "crop" else Preprocess)(preprocessing)
    return RandomCrop(
        (preprocessing.height, preprocessing.width),
        scale=area_fractions(crop),
        ratio=tuple(crop.ratio_range),
        interpolation=INTERPOLATIONS[preprocessing.interpolation],
    )


def area_fractions(spec: RandomCropSpec) -> tuple[float, float]:
    """The crop's smallest and largest fraction of the area.

    TAO's factors from 1 up enlarge the image before a crop of the former size is cut: a factor f
    leaves 1 / f**2 of the area.
    """
    low, high = spec.scale_range
    if low >= 1:
        return 1 / high**2, 1 / low**2
    return low, high
