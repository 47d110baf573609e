"""Reading images: as 8-bit RGB, upright, whatever a file holds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.files import files_below
from tao_like.runtime.inputs.image.big_images import (
    BigImages,
    any_size,
    bytes_a_pixel,
    check_memory,
    check_pixels,
    open_image,
)
from tao_like.runtime.inputs.shards import file_exists, file_status, open_file

# Formats that Pillow decodes by itself: EPS, for one, would start Ghostscript on the user's file.
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

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
