"""The stage `kmeans` of detection: anchors for the training data, as the training sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tao_like.contract.capabilities import AnchorFit
from tao_like.data.boxes.annotation import BoxRecord, usable_boxes
from tao_like.data.boxes.sizes import image_size
from tao_like.errors import DatasetError, SpecError
from tao_like.runtime.geometry.boxes import letterbox_transform
from tao_like.runtime.inputs.image import ImagePreprocessing
from tao_like.tasks.detection.anchors.clusters import Shapes, cluster_shapes, mean_best_iou
from tao_like.tasks.detection.anchors.draw import draw_anchors
from tao_like.tasks.detection.anchors.presets import Shape, anchor_plan, map_sizes
from tao_like.tasks.detection.data.source import LabelledBoxes
from tao_like.tasks.detection.spec import Spec
from tao_like.tasks.detection.spec_blocks.yolo import ANCHOR_ARCHITECTURES


def fit_anchors(spec: Spec, source: LabelledBoxes, preprocessing: ImagePreprocessing) -> AnchorFit:
    """Clusters the boxes of the training data, and puts the centers into a copy of the spec.

    Small centers go to the fine map, large ones to the coarse map. The boxes have the sizes that they have in
    the input where nothing is changed at random.

    Args:
        spec: the task's.
        source: the training data.
        preprocessing: how an image becomes an input.

    Raises:
        SpecError: the architecture has no anchors, or the number of them does not fit its maps.
        DatasetError: there are fewer boxes of different shapes than anchors.
    """
    arch = spec.model.arch
    if arch not in ANCHOR_ARCHITECTURES:
        raise SpecError(
            f"model.arch={arch} has no anchors to find; set model.arch to one of "
            f"{', '.join(ANCHOR_ARCHITECTURES)}"
        )
    size = (preprocessing.height, preprocessing.width)
    plan = anchor_plan(arch, spec.model.anchors, size)
    counts = _counts(spec.kmeans.num_clusters, plan.counts)
    shapes = _training_shapes(spec, source, preprocessing, sum(counts))
    found = cluster_shapes(shapes, sum(counts), seed=spec.kmeans.seed, max_steps=spec.kmeans.max_steps).round(
        2
    )
    by_map = np.split(found, np.cumsum(counts)[:-1])
    names = map_sizes(arch)
    former = np.concatenate([np.array(of_map) for of_map in plan.shapes])
    before, after = mean_best_iou(shapes, former), mean_best_iou(shapes, found)
    anchors = {name: of_map.tolist() for name, of_map in zip(names, by_map, strict=True)}
    report = {
        "boxes": len(shapes),
        "input": {"width": size[1], "height": size[0]},
        "mean_overlap": {"before": round(before, 4), "after": round(after, 4)},
        "anchors_before": {
            name: np.round(of_map, 2).tolist() for name, of_map in zip(names, plan.shapes, strict=True)
        },
        "anchors": anchors,
    }
    lines = [
        *(f"{name}_anchor_shape: {shape}" for name, shape in anchors.items()),
        f"Mean overlap of {len(shapes)} boxes with the anchor that fits best: {before:.3f} before, "
        f"{after:.3f} with these",
    ]
    figure = draw_anchors(shapes, by_map, names, size)
    return AnchorFit(_with_anchors(spec, anchors), report, lines, {"anchors": figure})


def _counts(wanted: int | None, present: tuple[int, ...]) -> tuple[int, ...]:
    """Anchors of each map."""
    if wanted is None:
        return present
    if wanted % len(present):
        raise SpecError(
            f"kmeans.num_clusters={wanted} cannot be shared out evenly; this architecture has {len(present)} "
            f"maps: give a multiple of {len(present)}"
        )
    return (wanted // len(present),) * len(present)


def _training_shapes(
    spec: Spec, source: LabelledBoxes, preprocessing: ImagePreprocessing, wanted: int
) -> Shapes:
    """Width and height (N, 2) of the training data's boxes, in pixels of the input.

    There are at least ``wanted`` different ones.
    """
    records = source.records("train")
    numbers = {name: number for number, name in enumerate(source.classes)}
    limits = spec.kmeans
    shapes = np.concatenate(
        [np.zeros((0, 2)), *(_shapes_of(record, numbers, preprocessing) for record in records)]
    )
    shapes = shapes[(shapes[:, 0] >= limits.min_x) & (shapes[:, 1] >= limits.min_y)]
    different = len(np.unique(shapes, axis=0))
    if different < wanted:
        roots = [str(one.image_dir or one.json_file) for one in spec.dataset.train_data_sources]
        raise DatasetError(
            f"dataset.train_data_sources: {', '.join(roots)} has boxes of {different} different shapes, and "
            f"{wanted} anchors are to be found; give more data, or fewer anchors (kmeans.num_clusters)"
        )
    return shapes


def _shapes_of(record: BoxRecord, numbers: dict[str, int], preprocessing: ImagePreprocessing) -> Shapes:
    """The same of one image, in its own size, as in the training: an annotation may state another."""
    width, height = image_size(record)
    arrays = usable_boxes(record.boxes, numbers, width, height)
    boxes = letterbox_transform(width, height, preprocessing).to_input(arrays.boxes[~arrays.crowd])
    sides: Shapes = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    return sides


def _with_anchors(spec: Spec, anchors: dict[str, list[Shape]]) -> Spec:
    """A copy of the spec with other anchors."""
    given: dict[str, Any] = {
        f"{name}_anchor_shape": [list(shape) for shape in shapes] for name, shapes in anchors.items()
    }
    return replace(spec, model=replace(spec.model, anchors=replace(spec.model.anchors, **given)))
