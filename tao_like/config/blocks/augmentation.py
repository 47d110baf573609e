"""What tasks on images may change in them at random. Most field names are those of TAO's classification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_field


@dataclass
class RandomFlipSpec:
    """Mirror images."""

    enable: bool = spec_field(True, "Flip images", automl=True)
    hflip_probability: float = spec_field(0.5, "Chance of left for right", ge=0, le=1, automl=True)
    vflip_probability: float = spec_field(0.0, "Chance of upside down", ge=0, le=1, automl=True)


@dataclass
class RandomRotateSpec:
    """Rotation by one of some angles."""

    enable: bool = spec_field(False, "Rotate images", automl=True)
    rotate_probability: float = spec_field(0.5, "Chance of a rotation", ge=0, le=1, automl=True)
    angle_list: list[float] = spec_field([90.0, 180.0, 270.0], "Angles to choose from", unit="degrees")
    max_angle: float = spec_field(
        0.0, "When above 0: any angle up to this, instead of the list", unit="degrees", ge=0, le=180
    )


@dataclass
class RandomColorSpec:
    """Changes of light and color."""

    enable: bool = spec_field(True, "Change colors", automl=True)
    color_probability: float = spec_field(0.5, "Chance of a change", ge=0, le=1, automl=True)
    brightness: float = spec_field(0.2, "Largest change of brightness", ge=0, le=2, automl=True)
    contrast: float = spec_field(0.2, "Largest change of contrast", ge=0, le=2, automl=True)
    saturation: float = spec_field(0.2, "Largest change of saturation", ge=0, le=2, automl=True)
    hue: float = spec_field(0.0, "Largest change of hue", ge=0, le=0.5, automl=True)


@dataclass
class RandomEraseSpec:
    """A rectangle blotted out."""

    enable: bool = spec_field(False, "Erase rectangles", automl=True)
    erase_probability: float = spec_field(0.2, "Chance of an erasure", ge=0, le=1, automl=True)


@dataclass
class RandomAugSpec:
    """RandAugment (Cubuk et al. 2020)."""

    enable: bool = spec_field(False, "RandAugment", automl=True)
    num_ops: int = spec_field(2, "Operations an image", ge=1, le=10, automl=True)
    magnitude: int = spec_field(9, "Strength", ge=0, le=30, automl=True)


@dataclass
class RandomCropSpec:
    """A crop of random position, size and shape, resized to the input."""

    enable: bool = spec_field(True, "Crop at random", automl=True)
    scale_range: list[float] = spec_field(
        [0.35, 1.0],
        "Smallest and largest fraction of the area; or, as in TAO, two factors from 1 up by which the "
        "image is enlarged before a crop of its former size",
    )
    ratio_range: list[float] = spec_field([0.75, 1.3333], "Smallest and largest width over height")

    def check(self) -> Iterator[Problem]:
        """Ranges rise, and scale is either a fraction of the area or an enlargement."""
        for key in ("scale_range", "ratio_range"):
            values = getattr(self, key)
            if len(values) != 2 or not 0 < values[0] <= values[1]:
                yield Problem(key, f"{values} is not allowed; give two numbers above 0, the smaller first")
        if min(self.scale_range, default=1) < 1 < max(self.scale_range, default=1):
            yield Problem(
                "scale_range",
                f"{self.scale_range} is neither a fraction of the area (both at most 1) nor an enlargement "
                "(both at least 1); give one of the two",
            )


@dataclass
class RandomAffineSpec:
    """Another size and position of the image in the input, rotated and sheared."""

    enable: bool = spec_field(True, "Move images", automl=True)
    scale_range: list[float] = spec_field(
        [0.75, 1.25], "Smallest and largest factor on the image's size", element_gt=0
    )
    translate: float = spec_field(
        0.1, "Largest shift, as a fraction of the input's sides", ge=0, le=0.5, automl=True
    )
    degrees: float = spec_field(0.0, "Largest rotation", unit="degrees", ge=0, le=180, automl=True)
    shear: float = spec_field(0.0, "Largest shear", unit="degrees", ge=0, le=45, automl=True)

    def check(self) -> Iterator[Problem]:
        """The range rises."""
        if len(self.scale_range) != 2 or self.scale_range[0] > self.scale_range[1]:
            yield Problem(
                "scale_range", f"{self.scale_range} is not allowed; give two numbers, the smaller first"
            )


@dataclass
class HsvColorSpec:
    """Changes of hue, saturation and brightness, for images whose objects have a position."""

    enable: bool = spec_field(True, "Change colors", automl=True)
    hue: float = spec_field(
        0.015, "Largest change of hue, as a fraction of the circle", ge=0, le=0.5, automl=True
    )
    saturation: float = spec_field(0.4, "Largest change of saturation", ge=0, le=2, automl=True)
    value: float = spec_field(0.3, "Largest change of brightness", ge=0, le=2, automl=True)


def normalization_problems(mean: list[float] | None, std: list[float] | None) -> Iterator[Problem]:
    """What is wrong with mean and std: they come together, three numbers each."""
    if (mean is None) != (std is None):
        yield Problem("mean" if mean is None else "std", "mean and std are given together or not at all")
    for key, values in (("mean", mean), ("std", std)):
        if values is not None and (len(values) != 3 or not all(0 <= value <= 1 for value in values)):
            yield Problem(key, f"{values} is not allowed; give three numbers from 0 to 1, for R, G and B")
    if std is not None and min(std, default=1) <= 0:
        yield Problem("std", f"{std} is not allowed; each must be above 0")
