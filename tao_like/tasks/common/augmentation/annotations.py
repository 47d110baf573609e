"""What is on an image, as torchvision's tv_tensors: one data class for boxes and instance masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision import tv_tensors

from tao_like.runtime.geometry.boxes import box_areas

LEAST_VISIBLE = 0.2
"""An object that is cut off so far that less than this fraction of its area is left is no object any more."""
LEAST_SIDE = 2.0
"""Pixels of the input that each side of a box must have."""
IGNORE = 255
"""Class index of pixels that count for nothing, in a mask of a class a pixel: those outside the photo."""


Region = tuple[int, int, int, int]
"""Left, top, right and bottom in whole pixels."""


class Annotations(NamedTuple):
    """The objects on an image. A named tuple, so that torchvision's transforms see the tensors in it.

    Attributes:
        boxes: (N, 4) float32: left, top, right, bottom in pixels of the image; around the masks where
            there are some.
        labels: (N,) int64, class numbers.
        crowd: (N,) bool, whether it stands for a group and is no object to learn.
        masks: (N, H, W) uint8, 1 where the object is; None: only boxes are known.
    """

    boxes: tv_tensors.BoundingBoxes
    labels: Tensor
    crowd: Tensor
    masks: tv_tensors.Mask | None = None

    @classmethod
    def of(
        cls,
        boxes: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        size: tuple[int, int],
        *,
        crowd: npt.NDArray[np.bool_] | None = None,
        masks: npt.NDArray[np.uint8] | None = None,
    ) -> Annotations:
        """Annotations of arrays, without a copy.

        Args:
            boxes: (N, 4) in pixels.
            labels: (N,) class numbers.
            size: width and height of the image.
            crowd: (N,); None: there are none.
            masks: (N, H, W), 0 and 1.
        """
        return cls(
            _boxes(boxes, size),
            torch.from_numpy(labels),
            torch.zeros(len(labels), dtype=torch.bool) if crowd is None else torch.from_numpy(crowd),
            None if masks is None else tv_tensors.Mask(torch.from_numpy(masks)),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image."""
        height, width = self.boxes.canvas_size
        return width, height

    def select(self, which: Tensor) -> Annotations:
        """Those objects of ``which`` (N,)."""
        return Annotations(
            tv_tensors.wrap(self.boxes[which], like=self.boxes),
            self.labels[which],
            self.crowd[which],
            None if self.masks is None else tv_tensors.Mask(self.masks[which]),
        )


class LabeledImage(NamedTuple):
    """An image and what is known of it; goes through a transform as one argument.

    Attributes:
        image: in RGB.
        target: objects, or the class index of every pixel (H, W) uint8; None: nothing that has a position.
    """

    image: Image.Image
    target: Annotations | tv_tensors.Mask | None = None


def _boxes(boxes: npt.NDArray[np.float32], size: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=(size[1], size[0]))


def box_of_mask(mask: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The smallest box around a mask (H, W): left, top, right, bottom; all 0 where it is empty."""
    rows, columns = np.flatnonzero(np.any(mask, axis=1)), np.flatnonzero(np.any(mask, axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def visible_annotations(
    annotations: Annotations,
    seen: npt.NDArray[np.float32],
    whole: npt.NDArray[np.float32],
    size: tuple[int, int],
) -> Annotations:
    """Moved objects that have only boxes, without those that are too small or of which too little is left.

    Args:
        annotations: before they were moved.
        seen: (N, 4) the boxes after that, as far as they are in the image.
        whole: (N, 4) the same before they were cut off.
        size: width and height of the image after that.
    """
    kept = is_left(seen, box_areas(seen), box_areas(whole))
    which = torch.from_numpy(kept)
    return Annotations(_boxes(seen[kept], size), annotations.labels[which], annotations.crowd[which])


def visible_instances(
    annotations: Annotations,
    parts: Sequence[npt.NDArray[np.uint8]],
    regions: Sequence[Region],
    factor: float,
    size: tuple[int, int],
) -> Annotations:
    """Moved objects with masks: their boxes are those of what is left of the masks.

    Args:
        annotations: before they were moved.
        parts: of each object, its mask after that within its region.
        regions: of the image, which hold all of a mask.
        factor: by which areas have grown.
        size: width and height of the image after that.
    """
    assert annotations.masks is not None
    before = zip(annotations.masks.numpy(), annotations.boxes.tolist(), strict=True)
    whole = [
        np.count_nonzero(mask[int(top) : math.ceil(bottom), int(left) : math.ceil(right)])
        for mask, (left, top, right, bottom) in before
    ]
    corners = np.array([region[:2] * 2 for region in regions], np.float32).reshape(-1, 4)
    boxes = corners + np.array([box_of_mask(part) for part in parts], np.float32).reshape(-1, 4)
    seen = np.array([np.count_nonzero(part) for part in parts], np.float64)
    kept = is_left(boxes, seen, np.array(whole, np.float64) * factor)
    which = torch.from_numpy(kept)
    masks = np.zeros((np.count_nonzero(kept), size[1], size[0]), np.uint8)
    for mask, number in zip(masks, np.flatnonzero(kept).tolist(), strict=True):
        left, top, right, bottom = regions[number]
        mask[top:bottom, left:right] = parts[number]
    return Annotations(
        _boxes(boxes[kept], size),
        annotations.labels[which],
        annotations.crowd[which],
        tv_tensors.Mask(torch.from_numpy(masks)),
    )


def is_left(
    boxes: npt.NDArray[np.float32], seen: npt.NDArray[np.floating], whole: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """(N,) whether enough of each object is seen: its box's sides, and the fraction of its area."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray((sides >= LEAST_SIDE).all(axis=1) & (seen >= LEAST_VISIBLE * whole))
