"""COCO's average precision and recall, computed by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster

from tao_like.runtime.predictions.detections import FoundBoxes
from tao_like.tasks.detection.data.dataset import Truth

COCO_NAMES = (
    "mAP",
    "mAP50",
    "mAP75",
    "mAP_small",
    "mAP_medium",
    "mAP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
"""COCO's twelve figures, in COCO's order. A figure is -1 where the data has no object of its kind."""


@dataclass(frozen=True)
class CocoFigures:
    """What COCO's evaluation gives.

    Attributes:
        totals: the twelve figures by name.
        ap: (classes,) average precision of each class over the overlaps 0.5 to 0.95; NaN without an object.
        ap50: (classes,) at overlap 0.5; NaN without an object.
        precision50: (101, classes) precision at recalls 0, 0.01 ... 1 and overlap 0.5; -1 without an object.
    """

    totals: dict[str, float]
    ap: npt.NDArray[np.float64]
    ap50: npt.NDArray[np.float64]
    precision50: npt.NDArray[np.float64]


def coco_figures(
    answers: Sequence[FoundBoxes], truths: Sequence[Truth], classes: Sequence[str]
) -> CocoFigures:
    """Scores answers, in pixels of the original pictures, against truths.

    Args:
        answers: one a picture.
        truths: likewise.
        classes: class names, for the order.
    """
    truth = COCO(coco_dataset(truths, len(classes)))
    evaluation = COCOeval_faster(truth, truth.loadRes(coco_results(answers)), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    totals = {name: float(value) for name, value in zip(COCO_NAMES, evaluation.stats, strict=False)}
    # (overlaps, recalls, classes, areas, limits): all areas, 100 boxes.
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    return CocoFigures(totals, _means(precision), _means(precision[:1]), precision[0])


def _means(precision: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over overlaps and recalls of each class; NaN where a class has no object."""
    has_objects = (precision > -1).any(axis=(0, 1))
    return np.where(has_objects, precision.mean(axis=(0, 1)), np.nan)


def coco_dataset(truths: Sequence[Truth], class_count: int) -> dict[str, Any]:
    """Truths as a COCO dataset; a region of no class is a crowd of every class, so nothing on it is wrong."""
    annotations: list[dict[str, Any]] = []
    for picture, truth in enumerate(truths):
        arrays = truth.arrays
        for box, label, crowd, area in zip(
            arrays.boxes.tolist(),
            arrays.labels.tolist(),
            arrays.crowd.tolist(),
            arrays.areas.tolist(),
            strict=True,
        ):
            for number in range(class_count) if label < 0 else (label,):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": picture,
                        "category_id": number,
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "area": area,
                        "iscrowd": int(crowd),
                    }
                )
    return {
        "images": [
            {"id": picture, "width": truth.width, "height": truth.height}
            for picture, truth in enumerate(truths)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": str(number)} for number in range(class_count)],
    }


def coco_results(answers: Sequence[FoundBoxes]) -> list[dict[str, Any]]:
    """Answers as COCO's results."""
    return [
        {
            "image_id": picture,
            "category_id": label,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
        }
        for picture, found in enumerate(answers)
        for box, score, label in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]
