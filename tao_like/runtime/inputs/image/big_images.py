"""Images of so many pixels that they are read only where they are seen tile by tile.

Pillow refuses files beyond a limit, since a small file may unfold to more pixels than memory holds. Its limit
holds here too; where a model cuts images into tiles, what memory is free takes its place.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from tao_like.errors import DatasetError
from tao_like.runtime.memory import free_memory

MEMORY_FRACTION = 0.8
"""Of the free memory one decoded image may take this much."""
_DEEP, _OPACITY, _PLAIN = 40, 20, 8
"""Bytes a pixel while an image becomes upright 8-bit RGB, with all that is in memory at once."""

_lock = threading.RLock()
_lifted_from: list[int | None] = []
"""Pillow's own limit while it is lifted for one image."""


class BigImages(Enum):
    """What becomes of images beyond the limit; the value says what to do where they are refused."""

    REFUSED = "cut it into several files, or make it smaller"
    BY_KEY = (
        "cut it into several files, make it smaller, or set dataset.tiling.enable=true (seen tile by tile)"
    )
    OF_MODEL = (
        "cut it into several files, make it smaller, or export the model with dataset.tiling.enable=true "
        "(seen tile by tile)"
    )
    READ = ""


def most_pixels() -> float:
    """Pixels beyond which an image is read only in tiles: where Pillow gives up."""
    limit = _lifted_from[0] if _lifted_from else Image.MAX_IMAGE_PIXELS
    return float("inf") if limit is None else 2 * limit


def check_pixels(size: tuple[int, int], big: BigImages) -> None:
    """Refuses a size beyond the limit, unless images are seen tile by tile. Raises DatasetError."""
    pixels, limit = size[0] * size[1], most_pixels()
    if pixels > limit and big is not BigImages.READ:
        raise DatasetError(
            f"{size[0]} x {size[1]} pixels are {pixels / 1e6:.0f} million, and {limit / 1e6:.0f} million are "
            f"the most that are read at once; {big.value}."
        )


def check_memory(size: tuple[int, int], bytes_a_pixel: int) -> None:
    """Refuses a size beyond the limit that memory would not hold. Raises DatasetError."""
    pixels = size[0] * size[1]
    if pixels <= most_pixels():
        return
    needed, free = pixels * bytes_a_pixel, free_memory() * MEMORY_FRACTION
    if needed > free:
        raise DatasetError(
            f"{size[0]} x {size[1]} pixels take {needed / 2**30:.1f} GiB while they are read, and "
            f"{free / 2**30:.1f} GiB are at hand for it, also with dataset.tiling.enable=true; cut it into "
            "several files, or give the program more memory."
        )


def bytes_a_pixel(image: Image.Image, *, deep: bool) -> int:
    """What reading an opened image takes, at most.

    Args:
        image: not loaded yet.
        deep: it may have 16 bits a channel.
    """
    if deep or image.mode.startswith(("I", "F")):
        return _DEEP
    is_plain = image.mode in ("1", "L", "P", "RGB") and "transparency" not in image.info
    return _PLAIN if is_plain else _OPACITY


@contextmanager
def any_size(size: tuple[int, int]) -> Iterator[None]:
    """Decodes an image beyond Pillow's limit within; one at a time, so that memory is asked for once."""
    if Image.MAX_IMAGE_PIXELS is not None and size[0] * size[1] <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _without_limit():
        yield


@contextmanager
def _without_limit() -> Iterator[None]:
    with _lock:
        before = Image.MAX_IMAGE_PIXELS
        _lifted_from.append(before)
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
            _lifted_from.pop()


def open_image(file: BinaryIO, formats: Sequence[str]) -> Image.Image:
    """Opens an image of any size, which reads its head alone.

    As `PIL.Image.open`, but that the size is for the caller to judge.

    Args:
        file: open for reading.
        formats: Pillow's names of those that it may have.

    Raises:
        UnidentifiedImageError: it has none of them.
        OSError, ValueError: it is damaged.
    """
    file.seek(0)
    prefix = file.read(16)
    for name in formats:
        if name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN[name]
        if accept and accept(prefix) is not True:
            continue
        try:
            file.seek(0)
            return _made(factory, file)
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise UnidentifiedImageError("cannot identify image file")


def _made(factory: Callable[[BinaryIO, str], Image.Image], file: BinaryIO) -> Image.Image:
    """An image of a format; of one whose head is refused for its size (WebP) without Pillow's limit."""
    try:
        return factory(file, "")
    except Image.DecompressionBombError:
        with _without_limit():
            file.seek(0)
            return factory(file, "")
