"""Reading mask files: index images of 1, 8 and 16 bits, palette images as indices, color images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image.big_images import any_size, check_memory, open_image

SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff", ".gif", ".pgm", ".ppm", ".webp"})
"""Of files that can hold a mask without loss."""
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg"})
_FORMATS = ("BMP", "GIF", "PNG", "PPM", "TIFF", "WEBP", "JPEG")
_BYTES_A_PIXEL = 8
"""Of a mask while it is read. Masks have no limit but memory: their photos have one."""


def read_mask_values(path: Path) -> npt.NDArray[Any]:
    """The values of a mask file as they are stored.

    A palette image (mode P) gives its indices, not its colors; one of 1 bit gives 0 and 1; opacity is left
    out. A color image whose three channels are equal everywhere gives (H, W).

    Returns:
        (H, W) of integers, or (H, W, 3) of uint8.

    Raises:
        DatasetError: it cannot be read, or is no mask; the message names the file.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is not a file; a mask was expected there.")
    try:
        with path.open("rb") as file, open_image(file, _FORMATS) as image, any_size(image.size):
            check_memory(image.size, _BYTES_A_PIXEL)
            image.load()
            values = _values(image)
    except UnidentifiedImageError as error:
        raise DatasetError(f"{path} is not an image that can be read as a mask.") from error
    except MemoryError:
        raise
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise DatasetError(f"{path} cannot be read as a mask: {error}. Replace or remove it.") from error
    if values is None:
        raise DatasetError(f"{path} is an image of mode {image.mode}; a mask holds whole numbers or colors")
    return values


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
        colors = np.asarray(image)[..., :3]
        is_gray = (colors[..., 0] == colors[..., 1]).all() and (colors[..., 0] == colors[..., 2]).all()
        return colors[..., 0].copy() if is_gray else colors
    return None
