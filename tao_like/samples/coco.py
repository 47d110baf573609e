"""Regions of drawn scenes as COCO writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def annotation(region: npt.NDArray[np.bool_], category: int) -> dict[str, Any] | None:
    """COCO's values of what can be seen of an object, (height, width); None where that is nothing."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not len(rows):
        return None
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "category_id": category,
        "bbox": [int(value) for value in box],
        "area": int(region.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(region.shape), "counts": run_lengths(region)},
    }


def run_lengths(region: npt.NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed runs: column by column, of 0 and 1 by turns, 0 first."""
    flat = region.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff([0, *changes.tolist(), len(flat)]).tolist()
    return [0, *lengths] if flat[0] else lengths
