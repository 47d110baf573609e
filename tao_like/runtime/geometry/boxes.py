"""Boxes: where they lie in the network's input and in the original, how much they overlap, which to keep.

A box is (left, top, right, bottom) in pixels; its area is (right - left) * (bottom - top).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError
from tao_like.runtime.inputs.image import ImagePreprocessing, letterbox_region

Boxes = npt.NDArray[np.float32]
_BLOCK = 256
"""Boxes that suppression looks at together."""


@dataclass(frozen=True)
class LetterboxTransform:
    """Where an image lies in the network's input.

    Attributes:
        width: of the original image, in pixels.
        height: of the original image.
        scale_x: pixels of the input for one of the original, across.
        scale_y: the same, down.
        left: column of the input where the image begins.
        top: row of the input where the image begins.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: float
    top: float

    def to_input(self, boxes: npt.ArrayLike) -> Boxes:
        """Boxes (N, 4) of the original image as boxes of the input."""
        return _moved(boxes, (self.scale_x, self.scale_y), (self.left, self.top))

    def to_image(self, boxes: npt.ArrayLike) -> Boxes:
        """Boxes (N, 4) of the input as boxes of the original image, cut off at its borders."""
        moved = self.to_image_plane(boxes)
        limits = np.array([self.width, self.height] * 2, np.float32)
        clipped: Boxes = np.clip(moved, 0, limits)
        return clipped

    def to_image_plane(self, boxes: npt.ArrayLike) -> Boxes:
        """The same, not cut off: a box may begin or end beside the image, where the input has a border."""
        scale = (1 / self.scale_x, 1 / self.scale_y)
        return _moved(boxes, scale, (-self.left * scale[0], -self.top * scale[1]))


def _moved(boxes: npt.ArrayLike, scale: tuple[float, float], offset: tuple[float, float]) -> Boxes:
    values = np.asarray(boxes, np.float64).reshape(-1, 4)
    moved: Boxes = (values * np.array(scale * 2) + np.array(offset * 2)).astype(np.float32)
    return moved


def letterbox_transform(width: int, height: int, preprocessing: ImagePreprocessing) -> LetterboxTransform:
    """Where ``prepare`` puts an image of this size.

    Raises:
        BundleError: the preprocessing cuts parts of the image off, which boxes cannot follow.
    """
    if preprocessing.resize == "squash":
        return LetterboxTransform(
            width, height, preprocessing.width / width, preprocessing.height / height, 0.0, 0.0
        )
    if preprocessing.resize == "letterbox":
        left, top, scaled_width, scaled_height = letterbox_region(width, height, preprocessing)
        return LetterboxTransform(width, height, scaled_width / width, scaled_height / height, left, top)
    raise BundleError(
        f"preprocessing.resize is {preprocessing.resize!r}; a detector takes 'letterbox' or 'squash'."
    )


def box_areas(boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Area of each box (N,), in square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(boxes: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Intersection over union of every box (N, 4) with every other (M, 4), as (N, M); 0 without an area."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    common = sides[..., 0] * sides[..., 1]
    areas, other_areas = box_areas(boxes), box_areas(others)
    union = areas[:, None] + other_areas[None, :] - common
    real = (areas > 0)[:, None] & (other_areas > 0)[None, :] & (union > 0)
    return np.where(real, common / np.where(real, union, 1), 0).astype(boxes.dtype)


def keep_best(
    boxes: Boxes,
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.integer],
    *,
    iou_threshold: float,
    score_threshold: float,
    limit: int,
) -> npt.NDArray[np.int64]:
    """Non-maximum suppression, class by class, as ONNX's NonMaxSuppression does it.

    Args:
        boxes: (N, 4).
        scores: (N,); of equal scores the earlier box wins.
        labels: (N,) class numbers; boxes of different classes do not suppress each other.
        iou_threshold: a box goes that overlaps a better one of its class by more than this.
        score_threshold: only boxes with a higher score take part.
        limit: most boxes to keep.

    Returns:
        Numbers of the boxes that stay, best first.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > score_threshold]
    kept: list[int] = []
    # Block by block, so that thousands of boxes need no table of all pairs.
    while len(order) and len(kept) < limit:
        block, order = order[:_BLOCK], order[_BLOCK:]
        rivals = _rivals(boxes, labels, block, block, iou_threshold)
        suppressed = np.zeros(len(block), bool)
        chosen: list[int] = []
        for position in range(len(block)):
            if not suppressed[position]:
                chosen.append(position)
                suppressed |= rivals[position]
        winners = block[chosen]
        kept += winners.tolist()
        order = order[~_rivals(boxes, labels, order, winners, iou_threshold).any(axis=1)]
    return np.asarray(kept[:limit], np.int64)


def _rivals(
    boxes: Boxes,
    labels: npt.NDArray[np.integer],
    some: npt.NDArray[np.int64],
    others: npt.NDArray[np.int64],
    iou_threshold: float,
) -> npt.NDArray[np.bool_]:
    """Whether boxes ``some`` (N,) overlap boxes ``others`` (M,) of their class too much, (N, M)."""
    near: npt.NDArray[np.bool_] = box_iou(boxes[some], boxes[others]) > iou_threshold
    near &= labels[some, None] == labels[None, others]
    return near


overlaps = box_iou
"""The name of version 0.1."""
