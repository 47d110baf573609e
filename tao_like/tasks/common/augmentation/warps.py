"""Where an image comes to lie on a canvas: its pixels, boxes and masks move by the same rule."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from typing_extensions import override

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision import tv_tensors

from tao_like.runtime.inputs.image import ImagePreprocessing, letterbox_region
from tao_like.tasks.common.augmentation.annotations import (
    IGNORE,
    Annotations,
    LabeledImage,
    Region,
    visible_annotations,
    visible_instances,
)

Boxes = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Warp(ABC):
    """An image's way onto a canvas.

    Attributes:
        source: width and height of the image.
        canvas: width and height of the canvas.
        fill: grey level of the canvas where the image is not.
    """

    source: tuple[int, int]
    canvas: tuple[int, int]
    fill: int

    @property
    @abstractmethod
    def area_factor(self) -> float:
        """By which an area grows."""

    @abstractmethod
    def pixels(self, image: Image.Image) -> Image.Image:
        """The canvas with the image on it."""

    @abstractmethod
    def boxes(self, boxes: Boxes) -> tuple[Boxes, Boxes]:
        """Boxes (N, 4) on the canvas: as they are seen, and before they were cut off at its borders."""

    @abstractmethod
    def source_points(self, columns: Points, rows: Points) -> tuple[Points, Points]:
        """Points of the image at columns (1, W) and rows (H, 1) of the canvas; they broadcast to (H, W)."""

    def mask(
        self, mask: npt.NDArray[np.uint8], fill: int, region: Region | None = None
    ) -> npt.NDArray[np.uint8]:
        """A mask (h, w) on the canvas (H, W): each pixel is the nearest of the image's.

        Args:
            mask: of the image.
            fill: where the image is not.
            region: the part of the canvas that is wanted; None: all of it.
        """
        left, top, right, bottom = region or (0, 0, *self.canvas)
        wide, high = self.source
        across, down = np.arange(left, right, dtype=np.float64), np.arange(top, bottom, dtype=np.float64)
        x, y = self.source_points(across[None, :] + 0.5, down[:, None] + 0.5)
        columns, rows = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        is_inside = (columns >= 0) & (columns < wide) & (rows >= 0) & (rows < high)
        moved = mask[rows.clip(0, high - 1), columns.clip(0, wide - 1)]
        moved[~is_inside] = fill
        return moved

    def target(self, target: Annotations | tv_tensors.Mask | None) -> Annotations | tv_tensors.Mask | None:
        """What is known of the image, on the canvas; objects of which too little is left are dropped."""
        if target is None:
            return None
        if isinstance(target, tv_tensors.Mask):
            return tv_tensors.Mask(torch.from_numpy(self.mask(target.numpy(), IGNORE)))
        seen, whole = self.boxes(target.boxes.numpy())
        if target.masks is None:
            return visible_annotations(target, seen, whole, self.canvas)
        regions = [_around(box, self.canvas) for box in seen]
        masks = target.masks.numpy()
        parts = [self.mask(mask, 0, region) for mask, region in zip(masks, regions, strict=True)]
        return visible_instances(target, parts, regions, self.area_factor, self.canvas)

    def __call__(self, sample: LabeledImage) -> LabeledImage:
        """The canvas with the image on it, and the target."""
        return LabeledImage(self.pixels(sample.image), self.target(sample.target))


def _around(box: Boxes, canvas: tuple[int, int]) -> Region:
    """The pixels of a canvas that a mask within a box may touch; a pixel more on each side for rounding."""
    left, top, right, bottom = (float(side) for side in box)
    return (
        max(0, math.floor(left) - 1),
        max(0, math.floor(top) - 1),
        min(canvas[0], math.ceil(right) + 1),
        min(canvas[1], math.ceil(bottom) + 1),
    )


@dataclass(frozen=True)
class ScaleShift(Warp):
    """An image in another size at some position of a canvas, perhaps beyond its borders.

    Attributes:
        left: of the image on the canvas, in its pixels.
        top: likewise.
        width: of the image on the canvas.
        height: likewise.
        resampling: Pillow's, antialiased.
    """

    left: int
    top: int
    width: int
    height: int
    resampling: Image.Resampling

    @classmethod
    def of(
        cls,
        source: tuple[int, int],
        preprocessing: ImagePreprocessing,
        scale: float = 1.0,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> ScaleShift:
        """Where ``preprocess`` puts an image, but for scale and shift.

        Args:
            source: width and height of the image.
            preprocessing: size, shape and border of the canvas; ``letterbox`` or ``squash``.
            scale: factor on the size that it has in an evaluation.
            shift: to the right and down, as fractions of the canvas's sides.
        """
        across, down = preprocessing.width, preprocessing.height
        width, height = across, down
        if preprocessing.resize == "letterbox":
            _, _, width, height = letterbox_region(*source, preprocessing)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        left = math.floor((across - width) / 2 + shift[0] * across)
        top = math.floor((down - height) / 2 + shift[1] * down)
        return cls(
            source, (across, down), preprocessing.fill, left, top, width, height, resampling_of(preprocessing)
        )

    @property
    @override
    def area_factor(self) -> float:
        return self.width * self.height / (self.source[0] * self.source[1])

    @override
    def pixels(self, image: Image.Image) -> Image.Image:
        """The canvas; only what is seen of the image is computed."""
        canvas = Image.new("RGB", self.canvas, (self.fill,) * 3)
        right, bottom = (
            min(self.canvas[0], self.left + self.width),
            min(self.canvas[1], self.top + self.height),
        )
        left, top = max(0, self.left), max(0, self.top)
        if right > left and bottom > top:
            across, down = self.source[0] / self.width, self.source[1] / self.height
            seen = (
                (left - self.left) * across,
                (top - self.top) * down,
                (right - self.left) * across,
                (bottom - self.top) * down,
            )
            canvas.paste(image.resize((right - left, bottom - top), self.resampling, box=seen), (left, top))
        return canvas

    @override
    def boxes(self, boxes: Boxes) -> tuple[Boxes, Boxes]:
        scales = np.array([self.width / self.source[0], self.height / self.source[1]] * 2, np.float32)
        whole = boxes * scales + np.array([self.left, self.top] * 2, np.float32)
        return np.clip(whole, 0, np.array(self.canvas * 2, np.float32)), whole

    @override
    def source_points(self, columns: Points, rows: Points) -> tuple[Points, Points]:
        return (
            (columns - self.left) * self.source[0] / self.width,
            (rows - self.top) * self.source[1] / self.height,
        )


@dataclass(frozen=True)
class Affine(Warp):
    """An image moved by a matrix; bilinear.

    Attributes:
        matrix: (3, 3) from points of the image to points of the canvas.
    """

    matrix: npt.NDArray[np.float64]

    @property
    @override
    def area_factor(self) -> float:
        return abs(float(np.linalg.det(self.matrix[:2, :2])))

    @override
    def pixels(self, image: Image.Image) -> Image.Image:
        return image.transform(
            self.canvas,
            Image.Transform.AFFINE,
            tuple(np.linalg.inv(self.matrix)[:2].ravel()),
            resample=Image.Resampling.BILINEAR,
            fillcolor=(self.fill,) * 3,
        )

    @override
    def boxes(self, boxes: Boxes) -> tuple[Boxes, Boxes]:
        """A box becomes the smallest upright box around what is seen of it."""
        left, top, right, bottom = boxes.T
        corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(-1, 4, 2)
        points = corners @ self.matrix[:2, :2].T + self.matrix[:2, 2]
        whole = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32)
        seen = [visible_box(each, self.canvas) for each in points]
        return np.array(seen, np.float32).reshape(-1, 4), whole

    @override
    def source_points(self, columns: Points, rows: Points) -> tuple[Points, Points]:
        inverse = np.linalg.inv(self.matrix)
        return cast(
            "tuple[Points, Points]",
            tuple(line[0] * columns + line[1] * rows + line[2] for line in inverse[:2]),
        )


def resampling_of(preprocessing: ImagePreprocessing) -> Image.Resampling:
    """Pillow's resampling of a preprocessing."""
    return Image.Resampling[preprocessing.interpolation.upper()]


def affine_matrix(
    canvas: tuple[int, int],
    *,
    degrees: float,
    shears: tuple[float, float],
    shift: tuple[float, float],
    scale: float = 1.0,
    source: tuple[int, int] | None = None,
) -> npt.NDArray[np.float64]:
    """A 3 x 3 matrix from points of an image to points of a canvas; the middle stays the middle.

    Args:
        canvas: width and height of the canvas.
        degrees: rotation.
        shears: in degrees, along the columns and along the rows.
        shift: in pixels of the canvas, right and down.
        scale: factor on sizes.
        source: width and height of the image; None: the canvas's.
    """
    width, height = source or canvas
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    angle = math.radians(degrees)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1, math.tan(math.radians(shears[0]))], [math.tan(math.radians(shears[1])), 1]])
    linear = np.eye(3)
    linear[:2, :2] = shear @ turn
    back = np.array([[1, 0, canvas[0] / 2 + shift[0]], [0, 1, canvas[1] / 2 + shift[1]], [0, 0, 1]])
    return back @ linear @ to_middle


def visible_box(corners: npt.NDArray[np.float64], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The smallest upright box around what is inside the image of a quadrilateral; all 0 where nothing is.

    Args:
        corners: (4, 2) in order around it.
        size: width and height of the image.
    """
    polygon = [tuple(point) for point in corners.tolist()]
    # Sutherland and Hodgman (1974): cut along one border after the other.
    for axis, limit, sign in ((0, 0, 1), (1, 0, 1), (0, size[0], -1), (1, size[1], -1)):
        cut: list[tuple[float, ...]] = []
        for one, other in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            inside, other_inside = sign * (one[axis] - limit) >= 0, sign * (other[axis] - limit) >= 0
            if inside:
                cut.append(one)
            if inside != other_inside:
                fraction = (limit - one[axis]) / (other[axis] - one[axis])
                cut.append(tuple(a + fraction * (b - a) for a, b in zip(one, other, strict=True)))
        polygon = cut
    if not polygon:
        return (0.0, 0.0, 0.0, 0.0)
    columns, rows = zip(*polygon, strict=True)
    return min(columns), min(rows), max(columns), max(rows)
