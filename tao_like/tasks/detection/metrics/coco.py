"""COCO's average precision and recall, computed by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster

from tao_like.data.masks.runs import Runs
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.detection.data.dataset import GroundTruth
from tao_like.tasks.detection.metrics.sizes import AREAS, metrics_by_size

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
"""COCO's twelve metrics, in COCO's order. A value is -1 where the data has no object of its kind."""


ANY_SIZE = (0.0, 1e10)
LIMITS = (1, 10, 100)
"""Most boxes of an image that count, by descending score."""


@dataclass(frozen=True)
class CocoMetrics:
    """What COCO's evaluation gives.

    Attributes:
        totals: the twelve metrics by name.
        ap: (classes,) average precision of each class over the overlaps 0.5 to 0.95; NaN without an object.
        ap50: (classes,) at overlap 0.5; NaN without an object.
        by_size: a row for each size; see ``metrics_by_size``.
    """

    totals: dict[str, float]
    ap: npt.NDArray[np.float64]
    ap50: npt.NDArray[np.float64]
    by_size: list[dict[str, Any]]


class MaskPairs(NamedTuple):
    """The masks of predictions and targets, as COCO's runs, a list an image in the order of its boxes."""

    found: Sequence[Sequence[Runs]]
    targets: Sequence[Sequence[Runs]]


def coco_metrics(
    found: Sequence[Detections],
    targets: Sequence[GroundTruth],
    num_classes: int,
    masks: MaskPairs | None = None,
) -> CocoMetrics:
    """Scores boxes against targets, for COCO's sizes and finer ones in one evaluation.

    Args:
        found: one an image, in pixels of the original images.
        targets: likewise.
        num_classes: number of classes.
        masks: of all of both: they are compared then, not the boxes.
    """
    dataset, results = coco_dataset(targets, num_classes), coco_results(found)
    if masks is not None:
        _add_masks(dataset["annotations"], results, masks)
    target = COCO(dataset)
    kind = "bbox" if masks is None else "segm"
    evaluation = COCOeval_faster(target, target.loadRes(results), iouType=kind)
    evaluation.params.areaRng = [list(area) for area in (ANY_SIZE, *AREAS.values())]
    evaluation.params.areaRngLbl = ["all", *AREAS]
    evaluation.params.maxDets = list(LIMITS)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    order = ["mAP", "mAP50", "mAP75", *(f"mAP_{size}" for size in AREAS)]
    order += [*(f"AR{limit}" for limit in LIMITS), *(f"AR_{size}" for size in AREAS)]
    values = dict(zip(order, map(float, evaluation.stats), strict=True))
    # (overlaps, recalls, classes, areas, limits) and without the recalls; the last limit is 100 boxes.
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])[..., -1]
    return CocoMetrics(
        {name: values[name] for name in COCO_NAMES},
        _means(precision[:, :, :, 0]),
        _means(precision[:1, :, :, 0]),
        metrics_by_size(precision[:, :, :, 1:], recall[:, :, 1:], targets),
    )


def _means(precision: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over overlaps and recalls of each class; NaN where a class has no object."""
    has_objects = (precision > -1).any(axis=(0, 1))
    return np.where(has_objects, precision.mean(axis=(0, 1)), np.nan)


def _add_masks(annotations: list[dict[str, Any]], results: list[dict[str, Any]], masks: MaskPairs) -> None:
    """Gives each annotation and each result its mask, in place of the box of a result."""
    for entry in annotations:
        # A region of no class has an annotation a class, all with its place among the objects.
        entry["segmentation"] = masks.targets[entry["image_id"]][entry["place"]]
    found = [runs for of_image in masks.found for runs in of_image]
    for result, runs in zip(results, found, strict=True):
        del result["bbox"]
        result["segmentation"] = runs


def coco_dataset(targets: Sequence[GroundTruth], num_classes: int) -> dict[str, Any]:
    """Targets as a COCO dataset; a region of no class is a crowd of every class: nothing on it is wrong."""
    annotations: list[dict[str, Any]] = []
    for image, target in enumerate(targets):
        objects = zip(*(values.tolist() for values in target.arrays), strict=True)
        for index, (box, label, crowd, area) in enumerate(objects):
            for number in range(num_classes) if label < 0 else (label,):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "place": index,
                        "category_id": number,
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "area": area,
                        "iscrowd": int(crowd),
                    }
                )
    return {
        "images": [
            {"id": image, "width": target.width, "height": target.height}
            for image, target in enumerate(targets)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": str(number)} for number in range(num_classes)],
    }


def coco_results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Boxes as COCO's results."""
    return [
        {
            "image_id": image,
            "category_id": label,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
        }
        for image, of_image in enumerate(found)
        for box, score, label in zip(
            of_image.boxes.tolist(), of_image.scores.tolist(), of_image.labels.tolist(), strict=True
        )
    ]
