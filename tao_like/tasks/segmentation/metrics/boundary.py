"""Boundary IoU: how well the edges of regions are found (Cheng et al. 2021)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tao_like.data.masks.values import IGNORE, ClassMap

BOUNDARY_FRACTION = 0.02
"""Width of the strips as a fraction of the photo's diagonal."""


def strip_width(height: int, width: int) -> int:
    """Pixels of a strip's width."""
    return max(1, round(BOUNDARY_FRACTION * float(np.hypot(height, width))))


def inner_strip(region: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """The pixels of a region that ``width`` erosions with a square of 3 x 3 take away.

    What lies beyond the photo counts as outside, so that edges of the photo are edges of the region.
    """
    height, columns = region.shape
    # So many erosions are one with a square of 2 width + 1, which an integral image counts at once.
    padded = np.zeros((height + 2 * width + 1, columns + 2 * width + 1), np.int32)
    padded[width + 1 : width + 1 + height, width + 1 : width + 1 + columns] = region
    total = padded.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    side = 2 * width + 1
    within = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    strip: npt.NDArray[np.bool_] = region & (within < side * side)
    return strip


def boundary_counts(predicted: ClassMap, target: ClassMap, num_classes: int) -> npt.NDArray[np.int64]:
    """(2, classes): pixels in both strips, and in either, of each class.

    Pixels of no class are left out of both maps before strips are taken, so that they make the same edges.
    """
    is_valid = target != IGNORE
    seen = np.where(is_valid, predicted, IGNORE)
    width = strip_width(*target.shape)
    counts = np.zeros((2, num_classes), np.int64)
    for number in range(num_classes):
        wanted, found = target == number, seen == number
        has = (bool(wanted.any()), bool(found.any()))
        if not any(has):
            continue
        one = inner_strip(wanted, width) if has[0] else wanted
        other = inner_strip(found, width) if has[1] else found
        counts[:, number] = (one & other).sum(), (one | other).sum()
    return counts
