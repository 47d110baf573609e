"""Preprocessing images for a network.

This is the only preprocessing for evaluation that there is: the datasets, the evaluation and the
exported model's runtime all call it, so an image looks the same to the network everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import BundleError
from tao_like.runtime.inputs.image.reading import FULL_WINDOW, Window, to_rgb

PREPROCESSED_CHANNELS = 3

_INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_RESIZES = ("crop", "squash", "letterbox")

# A strip of 1 x 20000 pixels would be enlarged to 5 GB before its center is cut out; beyond this number of
# pixels only the center is enlarged, which rounds some of its values differently.
_LARGEST_SCALED = 2**26


@dataclass(frozen=True)
class ImagePreprocessing:
    """How an image becomes the network's input, before normalization.

    Attributes:
        height: rows of the result, in pixels.
        width: columns of the result, in pixels.
        resize: ``crop`` scales the image so that it covers the input divided by ``crop_pct`` and
            cuts out the center (as timm does for evaluation); ``squash`` scales both sides on their
            own; ``letterbox`` scales the image to fit inside and pads it evenly with ``fill``.
        crop_pct: fraction of the scaled image's side that ``crop`` keeps, in (0, 1].
        interpolation: nearest, bilinear, bicubic or lanczos; antialiased, as Pillow does it.
        fill: grey level of ``letterbox``'s borders, 0 to 255.
        channels: 3 (RGB).
        window: values of 16-bit images that become black and white, each from 0 to 65535; None: 0 and
            65535. Images of 8 bits stay as they are.
    """

    height: int
    width: int
    resize: str = "crop"
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    fill: int = 128
    channels: int = PREPROCESSED_CHANNELS
    window: Window | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning, with a BundleError."""
        rules = {
            "height": (_is_int(self.height) and self.height > 0, "an integer greater than 0"),
            "width": (_is_int(self.width) and self.width > 0, "an integer greater than 0"),
            "resize": (self.resize in _RESIZES, f"one of {', '.join(_RESIZES)}"),
            "crop_pct": (_is_number(self.crop_pct) and 0 < self.crop_pct <= 1, "in (0, 1]"),
            "interpolation": (
                self.interpolation in tuple(_INTERPOLATIONS),
                f"one of {', '.join(_INTERPOLATIONS)}",
            ),
            "fill": (_is_int(self.fill) and 0 <= self.fill <= 255, "an integer from 0 to 255"),
            "channels": (self.channels == PREPROCESSED_CHANNELS, f"{PREPROCESSED_CHANNELS} (RGB)"),
            "window": (_is_window(self.window), "two numbers from 0 to 65535, the smaller first"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise BundleError(f"preprocessing.{name} is {getattr(self, name)!r}; it must be {rule}.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back, also of releases that know no window."""
        values = asdict(self)
        window = values.pop("window")
        return values if window is None else values | {"window": list(window)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImagePreprocessing:
        """Read what `to_dict` wrote.

        Raises:
            BundleError: a key is missing or unknown, or a value has no meaning.
        """
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise BundleError(
                    f"preprocessing.{name} is unknown; the keys are {', '.join(sorted(known))}."
                )
        for name in ("height", "width"):
            if name not in values:
                raise BundleError(f"preprocessing.{name} is missing.")
        window = values.get("window")
        if isinstance(window, list):
            values = {**values, "window": tuple(window)}
        return cls(**values)


def preprocess(image: Image.Image, preprocessing: ImagePreprocessing) -> npt.NDArray[np.uint8]:
    """Scale, crop or pad an image to the network's input size.

    Args:
        image: an image as `read_image` and `to_rgb` return it; `to_rgb` is applied to other modes than RGB.
        preprocessing: the size and the way to get there.

    Returns:
        uint8 array of shape (height, width, 3), RGB, values 0 to 255.
    """
    if image.mode != "RGB":
        image = to_rgb(image, preprocessing.window)
    way = {"crop": _crop, "squash": _squash, "letterbox": _letterbox}[preprocessing.resize]
    return np.array(way(image, preprocessing))


def _squash(image: Image.Image, preprocessing: ImagePreprocessing) -> Image.Image:
    return image.resize(
        (preprocessing.width, preprocessing.height), _INTERPOLATIONS[preprocessing.interpolation]
    )


def _crop(image: Image.Image, preprocessing: ImagePreprocessing) -> Image.Image:
    height, width = preprocessing.height, preprocessing.width
    scaled_height, scaled_width = _covering_size(image, preprocessing)
    top, left = round((scaled_height - height) / 2), round((scaled_width - width) / 2)
    interpolation = _INTERPOLATIONS[preprocessing.interpolation]
    if scaled_height * scaled_width <= _LARGEST_SCALED:
        scaled = image.resize((scaled_width, scaled_height), interpolation)
        return scaled.crop((left, top, left + width, top + height))
    across, down = image.width / scaled_width, image.height / scaled_height
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    return image.resize((width, height), interpolation, box=box)


def _covering_size(image: Image.Image, preprocessing: ImagePreprocessing) -> tuple[int, int]:
    """Height and width of the scaled image, rounded as timm's evaluation transform rounds them."""
    target_height = math.floor(preprocessing.height / preprocessing.crop_pct)
    target_width = math.floor(preprocessing.width / preprocessing.crop_pct)
    if target_height != target_width:
        ratio = min(image.height / target_height, image.width / target_width)
        return round(image.height / ratio), round(image.width / ratio)
    if image.width <= image.height:
        return int(target_width * image.height / image.width), target_width
    return target_height, int(target_height * image.width / image.height)


def letterbox_region(width: int, height: int, preprocessing: ImagePreprocessing) -> tuple[int, int, int, int]:
    """Where ``letterbox`` puts an image of this size: left, top, width and height in the result."""
    ratio = max(height / preprocessing.height, width / preprocessing.width)
    scaled_width, scaled_height = max(1, round(width / ratio)), max(1, round(height / ratio))
    left, top = (preprocessing.width - scaled_width) // 2, (preprocessing.height - scaled_height) // 2
    return left, top, scaled_width, scaled_height


def _letterbox(image: Image.Image, preprocessing: ImagePreprocessing) -> Image.Image:
    left, top, width, height = letterbox_region(image.width, image.height, preprocessing)
    scaled = image.resize((width, height), _INTERPOLATIONS[preprocessing.interpolation])
    canvas = Image.new(
        "RGB", (preprocessing.width, preprocessing.height), (preprocessing.fill,) * PREPROCESSED_CHANNELS
    )
    canvas.paste(scaled, (left, top))
    return canvas


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_window(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_number, value)):
        return False
    low, high = value
    return bool(FULL_WINDOW[0] <= low < high <= FULL_WINDOW[1])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
