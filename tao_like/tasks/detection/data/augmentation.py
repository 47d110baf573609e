"""Random changes of training pictures, whose boxes follow exactly. Draws from torch's global generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from torchvision import tv_tensors
from torchvision.transforms import v2

from tao_like.runtime.geometry.boxes import box_areas
from tao_like.runtime.inputs.image import ImagePreparation, letterbox_place
from tao_like.tasks.detection.spec import AugmentationSpec, RandomAffineSpec

LEAST_VISIBLE = 0.2
"""A box that is cut off so far that less than this share of its area is left is no object any more."""
LEAST_SIDE = 2.0
"""Pixels of the input that each side of a box must have."""
MOSAIC_CENTER = (0.25, 0.75)
"""Where the four pictures of a mosaic meet, as a share of its sides."""
MIXUP_SCALE = (0.5, 1.5)
MIXUP_SHARE = 0.5


@dataclass(frozen=True)
class Labelled:
    """A picture and its boxes.

    Attributes:
        image: in RGB.
        boxes: (N, 4) left, top, right, bottom in pixels of the picture.
        labels: (N,) class numbers.
    """

    image: Image.Image
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def uniform(low: float, high: float) -> float:
    """A number between two others."""
    return low + (high - low) * float(torch.rand(()))


def happens(probability: float) -> bool:
    """Whether something of this probability happens; draws in any case."""
    return float(torch.rand(())) < probability


class Augmentation:
    """Turns pictures into training inputs.

    Args:
        spec: what to change, and how much.
        preprocessing: size of the input, and how pictures become it where nothing is changed.
    """

    def __init__(self, spec: AugmentationSpec, preprocessing: ImagePreparation) -> None:
        self.spec = spec
        self.preprocessing = preprocessing
        color = spec.random_color
        steps: list[torch.nn.Module] = []
        if color.enable:
            steps.append(v2.ColorJitter(color.value, 0.0, color.saturation, color.hue))
        steps += [
            v2.RandomHorizontalFlip(spec.horizontal_flip_prob),
            v2.RandomVerticalFlip(spec.vertical_flip_prob),
        ]
        self.steps = v2.Compose(steps)

    def __call__(self, sample: Labelled, another: Callable[[], Labelled], *, strong: bool) -> Labelled:
        """The picture at the size of the input, changed.

        Args:
            sample: as it is on disk.
            another: gives some other picture of the data.
            strong: whether mosaic, mixup and affine changes are allowed.
        """
        spec, preprocessing = self.spec, self.preprocessing
        if strong and happens(spec.mosaic_prob):
            changed = moved(
                mosaic([sample, another(), another(), another()], preprocessing),
                spec.random_affine,
                preprocessing,
            )
            if happens(spec.mixup_prob):
                scale = uniform(*MIXUP_SCALE)
                changed = mixup(changed, placed(another(), preprocessing, scale))
        elif strong and spec.random_affine.enable:
            changed = rescaled(sample, spec.random_affine, preprocessing)
        else:
            changed = placed(sample, preprocessing)
        return self._recolored(changed)

    def _recolored(self, sample: Labelled) -> Labelled:
        size = (sample.image.height, sample.image.width)
        boxes = tv_tensors.BoundingBoxes(torch.from_numpy(sample.boxes), format="XYXY", canvas_size=size)
        image, boxes = self.steps(sample.image, boxes)
        return Labelled(image, boxes.numpy(), sample.labels)


def placed(
    sample: Labelled,
    preprocessing: ImagePreparation,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Labelled:
    """The picture on a canvas of the input's size: as ``prepare`` puts it there, but for scale and shift.

    Args:
        sample: as it is on disk.
        preprocessing: size, shape and border of the canvas.
        scale: factor on the size that it has in an evaluation.
        shift: to the right and down, as shares of the canvas's sides.
    """
    image = sample.image
    width, height = preprocessing.width, preprocessing.height
    if preprocessing.resize == "letterbox":
        _, _, width, height = letterbox_place(image.width, image.height, preprocessing)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    left = math.floor((preprocessing.width - width) / 2 + shift[0] * preprocessing.width)
    top = math.floor((preprocessing.height - height) / 2 + shift[1] * preprocessing.height)
    right, bottom = min(preprocessing.width, left + width), min(preprocessing.height, top + height)
    first = (max(0, left), max(0, top))
    canvas = Image.new("RGB", (preprocessing.width, preprocessing.height), (preprocessing.fill,) * 3)
    across, down = image.width / width, image.height / height
    if right > first[0] and bottom > first[1]:
        seen = (
            (first[0] - left) * across,
            (first[1] - top) * down,
            (right - left) * across,
            (bottom - top) * down,
        )
        size = (right - first[0], bottom - first[1])
        canvas.paste(image.resize(size, _resampling(preprocessing), box=seen), first)
    scales = np.array([1 / across, 1 / down] * 2, np.float32)
    boxes = sample.boxes * scales + np.array([left, top] * 2, np.float32)
    return _clipped(Labelled(canvas, boxes, sample.labels))


def _resampling(preprocessing: ImagePreparation) -> Image.Resampling:
    return Image.Resampling[preprocessing.interpolation.upper()]


def rescaled(sample: Labelled, spec: RandomAffineSpec, preprocessing: ImagePreparation) -> Labelled:
    """The picture in another size at another place; rotated and sheared where the spec says so."""
    scale = uniform(*spec.scale_range)
    shift = (uniform(-spec.translate, spec.translate), uniform(-spec.translate, spec.translate))
    changed = placed(sample, preprocessing, scale, shift)
    if not (spec.degrees or spec.shear):
        return changed
    matrix = affine_matrix(
        preprocessing, degrees=uniform(-spec.degrees, spec.degrees), shears=_shears(spec), shift=(0.0, 0.0)
    )
    return transformed(changed, matrix, preprocessing)


def _shears(spec: RandomAffineSpec) -> tuple[float, float]:
    return uniform(-spec.shear, spec.shear), uniform(-spec.shear, spec.shear)


def mosaic(samples: list[Labelled], preprocessing: ImagePreparation) -> Labelled:
    """Four pictures that meet at a random point of a canvas of twice the input's sides (YOLOv4, YOLOX)."""
    height, width = 2 * preprocessing.height, 2 * preprocessing.width
    center = (round(uniform(*MOSAIC_CENTER) * width), round(uniform(*MOSAIC_CENTER) * height))
    canvas = Image.new("RGB", (width, height), (preprocessing.fill,) * 3)
    boxes, labels = [], []
    for number, sample in enumerate(samples):
        _, _, wide, high = letterbox_place(sample.image.width, sample.image.height, preprocessing)
        left = center[0] - wide if number % 2 == 0 else center[0]
        top = center[1] - high if number < 2 else center[1]
        canvas.paste(sample.image.resize((wide, high), _resampling(preprocessing)), (left, top))
        scale = np.array([wide / sample.image.width, high / sample.image.height] * 2, np.float32)
        boxes.append(sample.boxes * scale + np.array([left, top] * 2, np.float32))
        labels.append(sample.labels)
    return _clipped(Labelled(canvas, np.concatenate(boxes), np.concatenate(labels)))


def moved(sample: Labelled, spec: RandomAffineSpec, preprocessing: ImagePreparation) -> Labelled:
    """A mosaic cut to the input's size around its middle: scaled, shifted, rotated and sheared at random."""
    low, high = spec.scale_range if spec.enable else (1.0, 1.0)
    translate = spec.translate if spec.enable else 0.0
    degrees = spec.degrees if spec.enable else 0.0
    shift = (
        uniform(-translate, translate) * preprocessing.width,
        uniform(-translate, translate) * preprocessing.height,
    )
    matrix = affine_matrix(
        preprocessing,
        degrees=uniform(-degrees, degrees),
        shears=_shears(spec) if spec.enable else (0.0, 0.0),
        shift=shift,
        scale=uniform(low, high),
        source=sample.image.size,
    )
    return transformed(sample, matrix, preprocessing)


def affine_matrix(
    preprocessing: ImagePreparation,
    *,
    degrees: float,
    shears: tuple[float, float],
    shift: tuple[float, float],
    scale: float = 1.0,
    source: tuple[int, int] | None = None,
) -> npt.NDArray[np.float64]:
    """A 3 x 3 matrix from points of a picture to points of the input; the middle stays the middle.

    Args:
        preprocessing: size of the input.
        degrees: rotation.
        shears: in degrees, along the columns and along the rows.
        shift: in pixels of the input, right and down.
        scale: factor on sizes.
        source: width and height of the picture; None: the input's.
    """
    width, height = source or (preprocessing.width, preprocessing.height)
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    angle = math.radians(degrees)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1, math.tan(math.radians(shears[0]))], [math.tan(math.radians(shears[1])), 1]])
    linear = np.eye(3)
    linear[:2, :2] = shear @ turn
    back = np.array(
        [[1, 0, preprocessing.width / 2 + shift[0]], [0, 1, preprocessing.height / 2 + shift[1]], [0, 0, 1]]
    )
    return back @ linear @ to_middle


def transformed(
    sample: Labelled, matrix: npt.NDArray[np.float64], preprocessing: ImagePreparation
) -> Labelled:
    """The picture moved by a matrix; a box becomes the smallest upright box around what is seen of it."""
    inverse = np.linalg.inv(matrix)
    image = sample.image.transform(
        (preprocessing.width, preprocessing.height),
        Image.Transform.AFFINE,
        tuple(inverse[:2].ravel()),
        resample=Image.Resampling.BILINEAR,
        fillcolor=(preprocessing.fill,) * 3,
    )
    left, top, right, bottom = sample.boxes.T
    corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(-1, 4, 2)
    points = corners @ matrix[:2, :2].T + matrix[:2, 2]
    whole = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32)
    seen = np.array([visible_box(each, image.size) for each in points], np.float32).reshape(-1, 4)
    return without_remnants(Labelled(image, seen, sample.labels), whole)


def visible_box(corners: npt.NDArray[np.float64], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The smallest upright box around what is inside the picture of a quadrilateral; all 0 where nothing is.

    Args:
        corners: (4, 2) in order around it.
        size: width and height of the picture.
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
                share = (limit - one[axis]) / (other[axis] - one[axis])
                cut.append(tuple(a + share * (b - a) for a, b in zip(one, other, strict=True)))
        polygon = cut
    if not polygon:
        return (0.0, 0.0, 0.0, 0.0)
    columns, rows = zip(*polygon, strict=True)
    return min(columns), min(rows), max(columns), max(rows)


def mixup(first: Labelled, second: Labelled) -> Labelled:
    """Both pictures at half strength, with the boxes of both (Zhang et al. 2018, as YOLOX has it)."""
    return Labelled(
        Image.blend(first.image, second.image, MIXUP_SHARE),
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.labels, second.labels]),
    )


def _clipped(sample: Labelled) -> Labelled:
    """Boxes cut off at the picture's borders, without remnants."""
    limits = np.array([sample.image.width, sample.image.height] * 2, np.float32)
    whole = sample.boxes
    return without_remnants(Labelled(sample.image, np.clip(whole, 0, limits), sample.labels), whole)


def without_remnants(sample: Labelled, whole: npt.NDArray[np.float32]) -> Labelled:
    """The sample without boxes that are too small, or of which too little is left.

    Args:
        sample: boxes as they are seen.
        whole: (N, 4) the same before they were cut off.
    """
    sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
    visible = box_areas(sample.boxes) >= LEAST_VISIBLE * box_areas(whole)
    kept = (sides >= LEAST_SIDE).all(axis=1) & visible
    return Labelled(sample.image, sample.boxes[kept], sample.labels[kept])
