"""Telling images that look the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.data.checks.grouping import Groups

# Side of the thumbnails that are compared when two hashes are alike.
THUMBNAIL_SIDE = 16
# Bits that two hashes of one image may differ in: with four parts of 16 bits, one part must agree then.
_MOST_BITS = 3
_PARTS = 4
_SPARSE = 37
# Largest difference of a thumbnail's value (0 to 255) between two savings of one image. Measured on 397
# photos saved as JPEG of quality 50, or at 0.6 times their size and quality 75: at most 11, with 99 % of the
# hashes within 3 bits; between different photos at least 60.
_SAME = 16
# Thumbnails with a smaller standard deviation show nothing to tell two images by.
_FLAT = 4.0
_BITS_SET = np.array([value.bit_count() for value in range(1 << 16)], dtype=np.uint8)


@dataclass(frozen=True)
class Fingerprint:
    """What two images are compared by.

    Attributes:
        hash: 64-bit difference hash.
        thumbnail: (16, 16, 3) uint8.
        is_grey: Whether no pixel of the scaled-down image has a color.
    """

    hash: int
    thumbnail: npt.NDArray[np.uint8]
    is_grey: bool


def fingerprint(image: Image.Image) -> Fingerprint:
    """Fingerprint of an RGB image of any size."""
    # Bilinear with Pillow's antialiasing: a box filter would make the values depend on the image's size.
    small = image.resize((144, 128), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, dtype=np.int16)
    is_grey = bool(np.abs(pixels - pixels[..., :1]).max() <= 4)
    thumbnail = np.asarray(small.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR))
    return Fingerprint(difference_hash(small), thumbnail, is_grey)


def difference_hash(image: Image.Image) -> int:
    """64 bits that say where brightness rises from left to right, on a grid of 9 x 8.

    Krawetz, "Kind of Like That" (2013). Nearly equal for copies of an image in another size, format or
    quality; also for images with little structure, so that hashes alone prove nothing.
    """
    grid = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BILINEAR), dtype=np.int16)
    bits = np.packbits(grid[:, 1:] > grid[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")


def near_duplicates(prints: Sequence[Fingerprint]) -> list[list[int]]:
    """Positions of images that look the same: hashes nearly equal, thumbnails too, and not flat."""
    positions = [position for position, each in enumerate(prints) if each.thumbnail.std() >= _FLAT]
    if not positions:
        return []
    hashes = np.array([prints[position].hash for position in positions], dtype=np.uint64)
    parts = hashes.view(np.uint16).reshape(-1, _PARTS)
    thumbnails = np.stack([prints[position].thumbnail for position in positions]).reshape(len(positions), -1)
    groups = Groups(len(positions))
    for part in range(_PARTS):
        for candidates in _equal(parts[:, part]):
            for position, first in enumerate(candidates[:-1]):
                for second in _alike(int(first), candidates[position + 1 :], parts, thumbnails):
                    groups.join(int(first), int(second))
    return [[positions[index] for index in members] for members in groups.members() if len(members) > 1]


def _equal(values: npt.NDArray[np.uint16]) -> list[npt.NDArray[np.intp]]:
    """Positions of equal values, for each value that comes more than once."""
    order = np.argsort(values, kind="stable")
    changes = np.flatnonzero(np.diff(values[order])) + 1
    return [run for run in np.split(order, changes) if len(run) > 1]


def _alike(
    first: int,
    others: npt.NDArray[np.intp],
    parts: npt.NDArray[np.uint16],
    thumbnails: npt.NDArray[np.uint8],
) -> npt.NDArray[np.intp]:
    """Those of the others that look like the first. A few values of the thumbnails rule most others out."""
    others = others[_BITS_SET[parts[others] ^ parts[first]].sum(axis=1) <= _MOST_BITS]
    for values in (slice(None, None, _SPARSE), slice(None)):
        if not others.size:
            break
        here, there = thumbnails[first, values], thumbnails[others, values]
        others = others[(np.maximum(here, there) - np.minimum(here, there)).max(axis=1) <= _SAME]
    return others
