"""How well objects of each size are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.tasks.detection.data.dataset import GroundTruth

LARGEST = 1e5
SIDES: dict[str, tuple[float, float]] = {
    "small": (0, 32),
    "medium": (32, 96),
    "large": (96, LARGEST),
    "below 8": (0, 8),
    "8 to 16": (8, 16),
    "16 to 32": (16, 32),
    "32 to 64": (32, 64),
    "64 to 96": (64, 96),
    "96 to 192": (96, 192),
    "192 to 384": (192, 384),
    "384 and more": (384, LARGEST),
}
"""Square root of an object's area, in pixels of the original image: COCO's three sizes, and finer."""
AREAS = {name: (low**2, high**2) for name, (low, high) in SIDES.items()}


def metrics_by_size(
    precision: npt.NDArray[np.float64], recall: npt.NDArray[np.float64], targets: Sequence[GroundTruth]
) -> list[dict[str, Any]]:
    """A row for each size: ``size``, ``objects``, ``AP`` and ``AP50``, and ``recall``.

    Average precision and recall (of 100 boxes an image, over the overlaps 0.5 to 0.95) are COCO's, so a box
    outside of the size is neither right nor wrong where it finds no object of the size. Values are None where
    there is no object of a size. COCO counts an object on the border of two sizes in both.

    Args:
        precision: (overlaps, recalls, classes, sizes), -1 where it is not known.
        recall: (overlaps, classes, sizes), likewise.
        targets: one an image.
    """
    areas = np.array([area for each in targets for area in each.arrays.areas[~each.arrays.crowd]])
    return [
        {
            "size": name,
            "objects": int(((areas >= low) & (areas <= high)).sum()),
            "AP": _mean(precision[:, :, :, number]),
            "AP50": _mean(precision[0, :, :, number]),
            "recall": _mean(recall[:, :, number]),
        }
        for number, (name, (low, high)) in enumerate(AREAS.items())
    ]


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Mean over what is known; -1 stands for what is not."""
    known = values[values > -1]
    return float(known.mean()) if len(known) else None
