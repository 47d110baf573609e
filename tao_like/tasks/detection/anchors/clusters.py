"""k-means over the shapes of boxes with intersection over union as distance. numpy alone.

Redmon and Farhadi 2017, "YOLO9000", section 2: what matters of an anchor is how much it overlaps, whatever
its size, so the distance of a box to a center is 1 less their overlap with the same center point.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Shapes = npt.NDArray[np.float64]
STARTS = 5
"""Runs from different first centers, of which the best counts."""


def shape_iou(shapes: Shapes, anchors: Shapes) -> Shapes:
    """Intersection over union (N, K) of shapes (N, 2) and anchors (K, 2), width and height, at one center."""
    common = np.minimum(shapes[:, None, 0], anchors[None, :, 0]) * np.minimum(
        shapes[:, None, 1], anchors[None, :, 1]
    )
    ious: Shapes = common / (shapes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - common)
    return ious


def mean_best_iou(shapes: Shapes, anchors: Shapes) -> float:
    """Mean over shapes (N, 2) of the overlap with the anchor (K, 2) that fits best."""
    return float(shape_iou(shapes, anchors).max(axis=1).mean())


def cluster_shapes(shapes: Shapes, count: int, *, seed: int, max_steps: int) -> Shapes:
    """Centers of shapes, the smallest area first.

    Args:
        shapes: (N, 2) widths and heights; at least ``count`` different ones.
        count: centers to find.
        seed: of the first centers, which are drawn as in k-means++ (Arthur and Vassilvitskii 2007).
        max_steps: most steps of each of the five runs.

    Returns:
        (count, 2): those of the run, and of its step, with the largest mean overlap.
    """
    generator = np.random.default_rng(seed)
    best, best_iou = shapes[:count], -1.0
    for _ in range(STARTS):
        centers = _first_centers(shapes, count, generator)
        nearest = np.full(len(shapes), -1)
        for _ in range(max_steps):
            ious = shape_iou(shapes, centers)
            mean = float(ious.max(axis=1).mean())
            if mean > best_iou:
                best, best_iou = centers, mean
            previous, nearest = nearest, ious.argmax(axis=1)
            if np.array_equal(previous, nearest):
                break
            centers = _means(shapes, nearest, centers)
    return best[np.argsort(best.prod(axis=1), kind="stable")]


def _first_centers(shapes: Shapes, count: int, generator: np.random.Generator) -> Shapes:
    """One shape at random, each next one with a chance in proportion to its squared distance."""
    chosen = [int(generator.integers(len(shapes)))]
    distances = np.full(len(shapes), np.inf)
    while len(chosen) < count:
        distances = np.minimum(distances, 1 - shape_iou(shapes, shapes[chosen[-1:]])[:, 0])
        chances = np.clip(distances, 0, None) ** 2
        chosen.append(int(generator.choice(len(shapes), p=chances / chances.sum())))
    return shapes[chosen]


def _means(shapes: Shapes, nearest: npt.NDArray[np.intp], centers: Shapes) -> Shapes:
    """The mean of the shapes that are nearest to each center; a center without any stays."""
    counts = np.bincount(nearest, minlength=len(centers))
    sums = np.stack([np.bincount(nearest, shapes[:, axis], len(centers)) for axis in (0, 1)], axis=1)
    means: Shapes = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers)
    return means
