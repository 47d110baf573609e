"""Reading mask files: index images of 1, 8 and 16 bits, palette images as indices, color images."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image.big_images import any_size, check_memory, open_image

ValuesT = TypeVar("ValuesT")
SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif", ".pgm", ".ppm", ".webp"})
"""Of files that can hold a mask without loss."""
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg"})
_FORMATS = ("BMP", "GIF", "PNG", "PPM", "TIFF", "WEBP", "JPEG")
_BYTES_A_PIXEL = 8
"""Of a mask while it is read. Masks have no limit but memory: their photos have one."""


def read_mask_values(path: Path, *, colors: bool = False) -> npt.NDArray[Any]:
    """The values of a mask file as they are stored.

    A palette image (mode P) gives its indices, not its colors; one of 1 bit gives 0 and 1; opacity is left
    out. A color image whose three channels are equal everywhere gives (H, W).

    Args:
        path: the file.
        colors: such an image gives (H, W, 3) as other color images do.

    Returns:
        (H, W) of integers, or (H, W, 3) of uint8.

    Raises:
        DatasetError: it cannot be read, or is no mask; the message names the file.
    """
    values, mode = _read(path, _values)
    if values is None:
        raise DatasetError(f"{path} is an image of mode {mode}; a mask holds whole numbers or colors")
    return values if colors or not is_gray(values) else values[..., 0].copy()


def is_gray(values: npt.NDArray[Any]) -> bool:
    """Whether a mask is of colors (H, W, 3), of which each has three equal channels."""
    return values.ndim == 3 and bool((values[..., :1] == values[..., 1:]).all())


def read_packed_values(path: Path) -> npt.NDArray[np.int32]:
    """(H, W) red + 256 green + 65536 blue of an image file, as COCO's panoptic files hold ids of segments.

    Raises:
        DatasetError: it cannot be read, or has no colors; the message names the file.
    """
    values, mode = _read(path, _packed_values)
    if values is None:
        raise DatasetError(
            f"{path} is an image of mode {mode}; a panoptic file holds ids as colors (red + 256 green + "
            "65536 blue), in mode RGB"
        )
    return values


def pixel_values(path: Path, *, packed: bool) -> npt.NDArray[np.integer]:
    """(H, W) the values of a mask file, which is remembered while the objects of one image are looked at.

    Args:
        path: the file.
        packed: see `read_packed_values`; else values are indices.

    Raises:
        DatasetError: it cannot be read, or holds colors where indices are wanted.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is not a file; a mask was expected there.")
    status = path.stat()
    return _remembered(path, packed, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _remembered(path: Path, packed: bool, size: int, modified: int) -> npt.NDArray[np.integer]:
    del size, modified
    values = read_packed_values(path) if packed else read_mask_values(path)
    if values.ndim != 2:
        raise DatasetError(f"{path} holds colors; a mask of class numbers was expected")
    values.setflags(write=False)
    return values


def _read(path: Path, values_of: Callable[[Image.Image], ValuesT]) -> tuple[ValuesT, str]:
    """What an image file holds, and the image's mode."""
    if not path.is_file():
        raise DatasetError(f"{path} is not a file; a mask was expected there.")
    try:
        with path.open("rb") as file, open_image(file, _FORMATS) as image, any_size(image.size):
            check_memory(image.size, _BYTES_A_PIXEL)
            image.load()
            return values_of(image), image.mode
    except UnidentifiedImageError as error:
        raise DatasetError(f"{path} is not an image that can be read as a mask.") from error
    except MemoryError:
        raise
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise DatasetError(f"{path} cannot be read as a mask: {error}. Replace or remove it.") from error


def mask_size(path: Path) -> tuple[int, int]:
    """Width and height of a mask file, from its head. Raises DatasetError."""
    try:
        with path.open("rb") as file, open_image(file, _FORMATS) as image:
            width, height = image.size
            return width, height
    except Exception as error:
        raise DatasetError(f"{path} cannot be read as a mask: {error}. Replace or remove it.") from error


def _values(image: Image.Image) -> npt.NDArray[Any] | None:
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("L", "P") or image.mode.startswith("I"):
        return np.asarray(image)
    if image.mode in ("LA", "PA"):
        return np.asarray(image.getchannel(0))
    if image.mode in ("RGB", "RGBA"):
        return np.asarray(image)[..., :3]
    return None


def _packed_values(image: Image.Image) -> npt.NDArray[np.int32] | None:
    if image.mode not in ("RGB", "RGBA"):
        return None
    colors = np.asarray(image)[..., :3].astype(np.int32)
    packed: npt.NDArray[np.int32] = colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]
    return packed
