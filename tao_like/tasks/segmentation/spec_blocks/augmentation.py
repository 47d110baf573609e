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
)


@dataclass
class RelativeCropSpec(RandomCropSpec):
    """A crop of random place, size and shape, resized to the input."""

    ratio_range: list[float] = spec_field(
        [0.8, 1.25], "Smallest and largest width over height, relative to the input's own"
    )


@dataclass
class AugmentationSpec:
    """What is changed at random in training photos; masks follow."""

    with_scale_random_crop: RelativeCropSpec = spec_block(RelativeCropSpec, "Random resized crop")
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
        """Mean and std come together, three numbers each."""
        if (self.mean is None) != (self.std is None):
            yield Problem(
                "mean" if self.mean is None else "std", "mean and std are given together or not at all"
            )
        for key in ("mean", "std"):
            values = getattr(self, key)
            if values is not None and (len(values) != 3 or not all(0 <= value <= 1 for value in values)):
                yield Problem(key, f"{values} is not allowed; give three numbers from 0 to 1, for R, G and B")
        if self.std is not None and min(self.std, default=1) <= 0:
            yield Problem("std", f"{self.std} is not allowed; each must be above 0")
