"""What is changed at random in training photos; masks follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field
from tao_like.config.blocks.augmentation import (
    RandomColorSpec,
    RandomCropSpec,
    RandomFlipSpec,
    RandomRotateSpec,
    normalization_problems,
)

MULTIPLE = 32
"""Sides of inputs are a multiple of the coarsest stride."""


@dataclass
class RelativeCropSpec(RandomCropSpec):
    """A crop of random position, size and shape, resized to the input."""

    ratio_range: list[float] = spec_field(
        [0.8, 1.25], "Smallest and largest width over height, relative to the input's own"
    )


@dataclass
class AugmentationSpec:
    """What is changed at random in training photos; masks follow."""

    with_scale_random_crop: RelativeCropSpec = spec_block(RelativeCropSpec, "Random resized crop")
    train_crop_size: list[int] = spec_field(
        [],
        "Height and width of what a network learns from: a crop of that many pixels in the place of one that "
        "is enlarged to the input's size. A step is cheaper by as much, so more photos are seen in the same "
        "time; with_scale_random_crop.scale_range is then the fraction of the photo that fills the crop. "
        "Empty: the input's size",
        unit="pixels",
        element_ge=32,
        element_le=4096,
    )
    random_flip: RandomFlipSpec = spec_block(RandomFlipSpec, "Flips")
    random_rotate: RandomRotateSpec = spec_block(RandomRotateSpec, "Rotation")
    random_color: RandomColorSpec = spec_block(RandomColorSpec, "Color")
    with_random_blur: bool = spec_field(False, "Blur every other photo a little", automl=True)
    mean: list[float] | None = spec_field(
        None, "Mean of the normalization, 0 to 1; empty: as the weights were trained with"
    )
    std: list[float] | None = spec_field(
        None, "Standard deviation of the normalization; empty: as the weights were trained with"
    )

    def check(self) -> Iterator[Problem]:
        """A crop has two sides; mean and std come together, three numbers each."""
        crop = self.train_crop_size
        if crop and (len(crop) != 2 or any(side % MULTIPLE for side in crop)):
            yield Problem(
                "train_crop_size",
                f"{crop} is not allowed; give height and width, each a multiple of {MULTIPLE}",
            )
        if crop and not self.with_scale_random_crop.enable:
            yield Problem(
                "train_crop_size",
                f"{crop} says how large random crops are, and with_scale_random_crop.enable is false; leave "
                "one of the two out",
            )
        yield from normalization_problems(self.mean, self.std)
