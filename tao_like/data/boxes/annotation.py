"""One image and the boxes around the objects on it, whatever format they were written in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tao_like.data.images.sample import ImageRecord
from tao_like.runtime.geometry.boxes import box_areas

OUTSIDE_TOLERANCE = 1.0
"""Pixels by which a box may leave the image unnoticed: some formats count from 1, some from 0."""


@dataclass(frozen=True)
class PixelValue:
    """An outline as the pixels of an image file that hold a value; the file is read where the mask is needed.

    Attributes:
        path: the file.
        value: what the object's pixels hold.
        packed: red + 256 green + 65536 blue are the value, as in COCO's panoptic files; else it is an index.
    """

    path: Path
    value: int
    packed: bool

    def __repr__(self) -> str:
        """Without the folder, which may move."""
        return f"PixelValue({self.path.name!r}, {self.value})"


Segmentation = list[list[float]] | dict[str, Any] | PixelValue
"""The outline of an object: polygons (x, y, x, y, ... in pixels) or runs (``counts``) as COCO writes them, or
pixels of an image file."""


class Box(NamedTuple):
    """An object, in pixels of the upright image as its file states them: perhaps outside, perhaps empty.

    Attributes:
        label: class name.
        left: first column.
        top: first row.
        right: column behind the last.
        bottom: row behind the last.
        crowd: stands for a group; neither trained on nor held against a prediction.
        ignore: a region (KITTI's DontCare) or an object (VOC's difficult) that is likewise left out.
        area: of the object itself, where a mask is known, in square pixels; 0: that of the box.
        segmentation: its outline, where the file has one and it was asked for.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    crowd: bool = False
    ignore: bool = False
    area: float = 0.0
    segmentation: Segmentation | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it has no area, or sides that are no numbers."""
        return not (self.right > self.left and self.bottom > self.top)


def box_text(box: Box) -> str:
    """A box as a text for fingerprints; of its outline nothing, as that is no part of a detection."""
    values = (f"{name}={value!r}" for name, value in zip(Box._fields[:8], box[:8], strict=True))
    return f"Box({', '.join(values)})"


def around(points: Iterable[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of points (x, y), of which there is at least one."""
    columns, rows = zip(*points, strict=True)
    return min(columns), min(rows), max(columns), max(rows)


def polygon_points(numbers: Sequence[float]) -> list[tuple[float, float]]:
    """The corners (x, y) of a polygon that is written as x, y, x, y, ..."""
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@dataclass(frozen=True)
class BoxRecord(ImageRecord):
    """An image with its boxes; ``labels`` are the names of the classes on it, sorted, each once.

    Attributes:
        boxes: in the order of the file.
        width: as the annotation states it, in pixels, perhaps wrongly; 0 where it does not.
        height: likewise.
        source: the file that the boxes were read from, for messages.
    """

    boxes: tuple[Box, ...] = ()
    width: int = 0
    height: int = 0
    source: str = ""


def labels_of(boxes: Iterable[Box]) -> tuple[str, ...]:
    """The classes of boxes that count, sorted."""
    return tuple(sorted({box.label for box in boxes if not box.ignore}))


class BoxArrays(NamedTuple):
    """The usable boxes of an image.

    Attributes:
        boxes: (N, 4) float32, inside the image, with an area.
        labels: (N,) class numbers; -1 for a region of no class.
        crowd: (N,) whether it is left out of training, and of scoring where a prediction covers it.
        areas: (N,) by which an object counts as small, medium or large, in square pixels.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float32]

    def select(self, which: npt.NDArray[np.bool_]) -> BoxArrays:
        """Those of ``which`` (N,)."""
        return BoxArrays(self.boxes[which], self.labels[which], self.crowd[which], self.areas[which])


def usable_boxes(boxes: Iterable[Box], numbers: dict[str, int], width: int, height: int) -> BoxArrays:
    """Boxes cut off at the image's borders, without those that have nothing left.

    Args:
        boxes: as read.
        numbers: class name to number; boxes of other classes are left out, regions to ignore are kept.
        width: of the upright image.
        height: likewise.
    """
    kept = [box for box in boxes if not box.is_empty and (box.ignore or box.label in numbers)]
    corners = np.array([box[1:5] for box in kept], np.float32).reshape(-1, 4)
    clipped = np.clip(corners, 0, np.array([width, height] * 2, np.float32))
    stated = np.array([box.area for box in kept], np.float32)
    arrays = BoxArrays(
        clipped,
        np.array([numbers.get(box.label, -1) for box in kept], np.int64),
        np.array([box.crowd or box.ignore for box in kept], np.bool_),
        np.where(stated > 0, stated, box_areas(clipped)),
    )
    sides = arrays.boxes[:, 2:] - arrays.boxes[:, :2]
    return arrays.select((sides[:, 0] > 0) & (sides[:, 1] > 0))


def fault_of(box: Box, width: int, height: int) -> str:
    """What is wrong with a box: ``empty``, ``outside``, ``partly_outside``; an empty text: nothing."""
    if box.is_empty:
        return "empty"
    if box.left >= width or box.top >= height or box.right <= 0 or box.bottom <= 0:
        return "outside"
    slack = OUTSIDE_TOLERANCE
    inside = box.left >= -slack and box.top >= -slack
    return "" if inside and box.right <= width + slack and box.bottom <= height + slack else "partly_outside"
