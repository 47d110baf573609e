"""Images: how they are read and how they are preprocessed for a network.

This is the only preprocessing for evaluation that there is: the datasets, the evaluation and the
exported model's runtime all call it, so an image looks the same to the network everywhere.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from tao_like.errors import BundleError, DatasetError
from tao_like.runtime.inputs.big_images import (
    BigImages,
    any_size,
    bytes_a_pixel,
    check_memory,
    check_pixels,
    open_image,
)
from tao_like.runtime.inputs.files import files_below
from tao_like.runtime.inputs.shards import file_exists, file_status, open_file

PREPROCESSED_CHANNELS = 3

# Formats that Pillow decodes by itself: EPS, for one, would start Ghostscript on the user's file.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

_INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_RESIZES = ("crop", "squash", "letterbox")

FULL_WINDOW = (0.0, 65535.0)
_PLAIN_CODECS = {"zip", "raw"}
_OTHER_BYTE = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B"}
"""Pillow's words for 16 bits a channel, and for the same with the bytes the other way around."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A strip of 1 x 20000 pixels would be enlarged to 5 GB before its center is cut out; beyond this number of
# pixels only the center is enlarged, which rounds some of its values differently.
_LARGEST_SCALED = 2**26


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders, sorted; hidden files are left out.

    Raises:
        DatasetError: the folder holds no image.
    """
    return files_below(folder, IMAGE_SUFFIXES, "image")


Window = tuple[float, float]
"""Values of 16-bit images that become 0 and 255."""


def read_image(
    path: str | Path, window: Window | None = None, big: BigImages = BigImages.REFUSED
) -> Image.Image:
    """Read an image as 8-bit RGB, upright as its EXIF orientation says; of several frames, the first.

    Args:
        path: the file.
        window: see `to_rgb`.
        big: what becomes of an image beyond Pillow's limit against decompression bombs.

    Raises:
        DatasetError: the file is missing, empty, truncated, too large or of an unknown format. The message
            names it.
    """
    path = Path(path)
    if not file_exists(path):
        raise DatasetError(f"{path} is not a file; an image was expected there.")
    if file_status(path).size == 0:
        raise DatasetError(f"{path} is empty (0 bytes); replace or remove it.")
    try:
        # Given a path, Pillow 13 maps an uncompressed TIFF into memory and garbles it if it is to be turned.
        with open_file(path) as file, open_image(file, IMAGE_FORMATS) as image:
            check_pixels(image.size, big)
            with any_size(image.size):
                check_memory(image.size, bytes_a_pixel(image, deep=window is not None))
                return to_rgb(image, window)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise DatasetError(
            f"{path} is not an image that can be read ({', '.join(IMAGE_FORMATS)})."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise DatasetError(f"{path} cannot be read as an image: {error}. Replace or remove it.") from error


def to_rgb(image: Image.Image, window: Window | None = None) -> Image.Image:
    """Turn any Pillow image into an upright 8-bit RGB one.

    - values of 16 bits are spread over 0 to 255: from ``window[0]`` to ``window[1]`` where it is given, else
      from 0 to 65535 (divided by 257), whatever range the image uses;
    - transparent pixels show white behind them;
    - CMYK is converted by Pillow's formula; color profiles are not applied.

    Raises:
        DatasetError: the pixels are floating-point numbers or 32-bit values beyond 65535, whose
            range cannot be known.
    """
    colors = None if window is None else deep_colors(image)
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    if colors is not None and window is not None:
        image = Image.fromarray(_through_window(colors, window))
    image = _to_eight_bit(image, window)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode != "RGB":
        image = image.convert("RGB")
    if turn is None:
        return image
    image = image.transpose(turn)
    image.info.clear()  # the copied EXIF data would turn it once more
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # unreadable EXIF data raises almost anything, and the pixels are still good
        return 1


def _to_eight_bit(image: Image.Image, window: Window | None) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise DatasetError(
            f"the pixels are of mode {image.mode} with values from {values.min()} to {values.max()}; "
            "8 or 16 bits a channel can be read, so save the image as one of these."
        )
    if window is not None:
        return Image.fromarray(_through_window(values, window))
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _through_window(values: npt.NDArray[Any], window: Window) -> npt.NDArray[np.uint8]:
    """Values as 0 to 255, rounded; of four channels the last is opacity, which uses the whole range."""
    low, high = window
    scaled = np.clip((values.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    if values.ndim == 3 and values.shape[2] == 4:
        scaled[..., 3] = values[..., 3] / 257
    values_8bit: npt.NDArray[np.uint8] = np.floor(scaled + 0.5).astype(np.uint8)
    return values_8bit


def deep_values(image: Image.Image) -> npt.NDArray[Any] | None:
    """The values of a 16-bit image that is opened and not loaded: (H, W), or (H, W, channels).

    None: its channels have 8 bits, or the form that they are packed in is not known here.
    """
    if image.mode.startswith("I"):
        return np.asarray(image)
    return deep_colors(image)


def deep_colors(image: Image.Image) -> npt.NDArray[np.uint16] | None:
    """All bits of a color image of 16 bits a channel, (H, W, 3 or 4), of which Pillow keeps the upper 8.

    Pillow has unpackers for both orders of bytes, each of which keeps one byte of the two: decoding with one
    after the other gives all bits. None: it is no such image, or is loaded already.
    """
    file, tiles = getattr(image, "fp", None), getattr(image, "tile", [])
    if file is None or not tiles or image.mode not in ("RGB", "RGBA"):
        return None
    codecs = {tile[0] for tile in tiles}
    modes = {tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in tiles}
    if len(modes) != 1 or not codecs <= _PLAIN_CODECS or modes.isdisjoint(_OTHER_BYTE):
        return None
    position = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(position)
    other = _OTHER_BYTE[modes.pop()]
    with open_image(io.BytesIO(content), IMAGE_FORMATS) as upper:
        high = np.asarray(upper).astype(np.uint16)
    with open_image(io.BytesIO(content), IMAGE_FORMATS) as lower:
        lower.tile = [
            tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))
            for tile in lower.tile
        ]
        low = np.asarray(lower).astype(np.uint16)
    values: npt.NDArray[np.uint16] = (high * np.uint16(256) + low).astype(np.uint16)
    return values


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


def letterbox_place(width: int, height: int, preprocessing: ImagePreprocessing) -> tuple[int, int, int, int]:
    """Where ``letterbox`` puts an image of this size: left, top, width and height in the result."""
    ratio = max(height / preprocessing.height, width / preprocessing.width)
    scaled_width, scaled_height = max(1, round(width / ratio)), max(1, round(height / ratio))
    left, top = (preprocessing.width - scaled_width) // 2, (preprocessing.height - scaled_height) // 2
    return left, top, scaled_width, scaled_height


def _letterbox(image: Image.Image, preprocessing: ImagePreprocessing) -> Image.Image:
    left, top, width, height = letterbox_place(image.width, image.height, preprocessing)
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
