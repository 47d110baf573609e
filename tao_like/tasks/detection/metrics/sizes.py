"""How well objects of each size are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from tao_like.runtime.predictions.detections import FoundBoxes
from tao_like.tasks.detection.data.dataset import Truth
from tao_like.tasks.detection.metrics.coco import coco_dataset, coco_results

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
"""Square root of an object's area, in pixels of the original picture: COCO's three sizes, and finer."""


def figures_by_size(
    answers: Sequence[FoundBoxes], truths: Sequence[Truth], class_count: int
) -> list[dict[str, Any]]:
    """A row for each size: ``size``, ``objects``, ``AP`` and ``AP50``, and ``recall``.

    Average precision and recall (of 100 boxes a picture, over the overlaps 0.5 to 0.95) are COCO's, so an
    answer outside of the size is neither right nor wrong where it finds no object of the size. Figures are
    None where there is no object of a size. COCO counts an object on the border of two sizes in both.

    Args:
        answers: one a picture, in pixels of the original pictures.
        truths: likewise.
        class_count: number of classes.
    """
    truth = COCO(coco_dataset(truths, class_count))
    evaluation = COCOeval_faster(truth, truth.loadRes(coco_results(answers)), iouType="bbox")
    ranges = [[low**2, high**2] for low, high in SIDES.values()]
    evaluation.params.areaRng = ranges
    evaluation.params.areaRngLbl = list(SIDES)
    evaluation.evaluate()
    evaluation.accumulate()
    # (overlaps, recalls, classes, sizes, limits) and without the recalls; the last limit is 100 boxes.
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])[..., -1]
    areas = np.array([area for each in truths for area in each.arrays.areas[~each.arrays.crowd]])
    return [
        {
            "size": name,
            "objects": int(((areas >= low) & (areas <= high)).sum()),
            "AP": _mean(precision[:, :, :, place]),
            "AP50": _mean(precision[0, :, :, place]),
            "recall": _mean(recall[:, :, place]),
        }
        for place, (name, (low, high)) in enumerate(zip(SIDES, ranges, strict=True))
    ]


def _mean(figures: np.ndarray) -> float | None:
    """Mean over what is known; -1 stands for what is not."""
    known = figures[figures > -1]
    return float(known.mean()) if len(known) else None
