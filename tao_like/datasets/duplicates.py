"""Telling pictures that look the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

# Side of the thumbnails that are compared when two hashes agree.
THUMBNAIL_SIDE = 16
# Largest difference of a thumbnail's value (0 to 255) between two savings of one picture. JPEG at quality 50
# stays below 6; two photos of one scene differ by more somewhere.
_SAME = 10
# Thumbnails with a smaller standard deviation show nothing to tell two pictures by.
_FLAT = 4.0


@dataclass(frozen=True)
class Fingerprint:
    """What two pictures are compared by.

    Attributes:
        hash: 64-bit difference hash.
        thumbnail: (16, 16, 3) uint8.
        is_grey: Whether no pixel of the scaled-down picture has a colour.
    """

    hash: int
    thumbnail: npt.NDArray[np.uint8]
    is_grey: bool


def fingerprint(image: Image.Image) -> Fingerprint:
    """Fingerprint of an RGB picture of any size."""
    # Scaled down once, by a box that nothing is lost in; both sides are multiples of what follows.
    small = image.resize((144, 128), Image.Resampling.BOX, reducing_gap=2.0)
    pixels = np.asarray(small, dtype=np.int16)
    is_grey = bool(np.abs(pixels - pixels[..., :1]).max() <= 4)
    thumbnail = np.asarray(small.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX))
    return Fingerprint(difference_hash(small), thumbnail, is_grey)


def difference_hash(image: Image.Image) -> int:
    """64 bits that say where brightness rises from left to right, on a grid of 9 x 8.

    Krawetz, "Kind of Like That" (2013). Equal for copies of a picture in another size, format or quality,
    mostly; also for pictures without structure, so that equal hashes alone prove nothing.
    """
    grid = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(grid[:, 1:] > grid[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")


def near_duplicates(prints: Sequence[Fingerprint]) -> list[list[int]]:
    """Positions of pictures that look the same: equal hash, thumbnails that hardly differ, not flat."""
    by_hash: defaultdict[int, list[int]] = defaultdict(list)
    for index, each in enumerate(prints):
        by_hash[each.hash].append(index)
    groups: list[list[int]] = []
    for candidates in by_hash.values():
        if len(candidates) > 1:
            groups += _clusters([i for i in candidates if prints[i].thumbnail.std() >= _FLAT], prints)
    return sorted(groups)


def _clusters(candidates: Sequence[int], prints: Sequence[Fingerprint]) -> list[list[int]]:
    """Each picture joins the first group whose first picture it looks like."""
    clusters: list[list[int]] = []
    for index in candidates:
        thumbnail = prints[index].thumbnail.astype(np.int16)
        for cluster in clusters:
            if np.abs(thumbnail - prints[cluster[0]].thumbnail).max() <= _SAME:
                cluster.append(index)
                break
        else:
            clusters.append([index])
    return [cluster for cluster in clusters if len(cluster) > 1]
