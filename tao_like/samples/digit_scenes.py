"""Scenes for detection and segmentation: scanned digits at many sizes on photos, with boxes and masks."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.errors import DatasetError
from tao_like.samples.coco import annotation
from tao_like.samples.digits import divide_digits

SIZE = (320, 240)
COUNTS = {"train": 320, "val": 60, "test": 80}
SIDES = (18, 110)
"""Smallest and largest side of a digit, in pixels."""
MOST_DIGITS = 7
MOST_COMMON = 0.15
"""Fraction of a digit's box that another one may cover."""
INK = 0.35
"""Brightness of an enlarged scan, 0 to 1, from which on a pixel belongs to the digit."""
TRIES = 30

README = """\
Scenes of digits
================

{images} images of {width} x {height} pixels in train, val and test: handwritten digits in any color and
many sizes on pieces of photos. The annotations are COCO's: train.json, val.json, test.json, with boxes and
masks (as uncompressed run lengths). Category ids are 1 for the digit 0 to 10 for the digit 9. Every tenth
image has no digit.

The digits of the three splits are different scans; the photos are the same, cut elsewhere.

Digits: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), UCI Machine Learning
Repository, https://doi.org/10.24432/C50P49, as scikit-learn ships it; Creative Commons Attribution 4.0
(CC BY 4.0). Photos: scikit-learn's sample images china.jpg (danielbuechele, flickr) and flower.jpg
(vultilion, flickr); Creative Commons Attribution 2.0 (CC BY 2.0).

Made with seed {seed}.
"""


def write_scenes(folder: Path, seed: int = 0) -> Path:
    """Writes ``<split>/<number>.jpg``, ``<split>.json`` in COCO's form, and a README.txt.

    The same seed gives the same files.

    Args:
        folder: where to write; made when it is missing.
        seed: of everything that is drawn.

    Returns:
        The folder.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits, load_sample_images
    except ModuleNotFoundError as error:
        raise DatasetError(
            "the scenes come from scikit-learn, which is not installed; pip install scikit-learn"
        ) from error
    scans = load_digits()
    digits = [int(digit) for digit in scans.target]
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for split, numbers in divide_digits(digits, seed).items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        draw = random.Random(f"{seed} {split}")
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(COUNTS[split]):
            scene = _Scene(_background(photos, draw), draw)
            for _ in range(0 if number % 10 == 0 else draw.randint(1, MOST_DIGITS)):
                chosen = draw.choice(numbers)
                scene.put(scans.images[chosen] / 16, digits[chosen])
            name = f"{number:04d}.jpg"
            scene.image().save(folder / split / name, quality=92)
            images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            for entry in scene.annotations():
                annotations.append({"id": len(annotations) + 1, "image_id": number, **entry})
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": digit + 1, "name": str(digit)} for digit in range(10)],
        }
        (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
    text = README.format(images=sum(COUNTS.values()), width=SIZE[0], height=SIZE[1], seed=seed)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    return folder


def _background(photos: list[Image.Image], draw: random.Random) -> npt.NDArray[np.float64]:
    """A piece of a photo, (height, width, 3) from 0 to 255."""
    photo = draw.choice(photos)
    scale = draw.uniform(1.0, min(photo.width / SIZE[0], photo.height / SIZE[1]))
    width, height = SIZE[0] * scale, SIZE[1] * scale
    left, top = draw.uniform(0, photo.width - width), draw.uniform(0, photo.height - height)
    piece = photo.resize(SIZE, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
    return np.asarray(piece, dtype=np.float64)


class _Scene:
    """An image in the making; digits that come later lie above earlier ones."""

    def __init__(self, pixels: npt.NDArray[np.float64], draw: random.Random) -> None:
        self.pixels = pixels
        self.draw = draw
        self.masks: list[npt.NDArray[np.bool_]] = []
        self.digits: list[int] = []
        self.boxes: list[tuple[int, int, int]] = []

    def put(self, scan: npt.NDArray[np.float64], digit: int) -> None:
        """Puts a digit where there is room; where there is none, nothing."""
        # As many small digits as large ones, by the logarithm.
        side = round(SIDES[0] * (SIDES[1] / SIDES[0]) ** self.draw.random())
        for _ in range(TRIES):
            left, top = self.draw.randint(0, SIZE[0] - side), self.draw.randint(0, SIZE[1] - side)
            if all(_common(box, (left, top, side)) <= MOST_COMMON for box in self.boxes):
                break
        else:
            return
        strength = Image.fromarray((scan * 255).astype(np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        ink = np.asarray(strength, dtype=np.float64) / 255
        position = (slice(top, top + side), slice(left, left + side))
        color = self._color(self.pixels[position].mean())
        alpha = np.clip(ink / (2 * INK), 0, 1)[..., None]
        self.pixels[position] = (1 - alpha) * self.pixels[position] + alpha * color
        mask = np.zeros((SIZE[1], SIZE[0]), np.bool_)
        mask[position] = ink >= INK
        for earlier in self.masks:
            earlier &= ~mask
        self.masks.append(mask)
        self.digits.append(digit)
        self.boxes.append((left, top, side))

    def _color(self, ground: float) -> npt.NDArray[np.float64]:
        """A color that stands out from the brightness of the ground, 0 to 255."""
        bright = ground < 128
        low, high = (190, 255) if bright else (0, 65)
        return np.array([self.draw.uniform(low, high) for _ in range(3)])

    def image(self) -> Image.Image:
        """The image."""
        return Image.fromarray(self.pixels.round().clip(0, 255).astype(np.uint8))

    def annotations(self) -> list[dict[str, Any]]:
        """COCO's values of each digit of which something is seen."""
        found = (annotation(mask, digit + 1) for digit, mask in zip(self.digits, self.masks, strict=True))
        return [one for one in found if one is not None]


def _common(box: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Common area of two squares (left, top, side) as a fraction of the smaller one."""
    across = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    down = min(box[1] + box[2], other[1] + other[2]) - max(box[1], other[1])
    return max(0, across) * max(0, down) / min(box[2], other[2]) ** 2
