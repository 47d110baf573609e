"""Scenes for segmentation: overlapping shapes with exact masks, thin structures and holes."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.samples.coco import annotation

WIDTH, HEIGHT = 192, 160
COUNTS = {"train": 200, "val": 40, "test": 40}
CLASSES = ("ground", "disk", "ring", "square", "cross", "rod")
"""In the order of the masks' values."""
HUES = {"disk": 0.0, "ring": 0.58, "square": 0.33, "cross": 0.13, "rod": 0.83}
HUE_SPREAD = 0.035
"""Standard deviation of a class's hue, as a fraction of the circle: neighbors overlap a little."""
FEWEST, MOST = 3, 8
SMALLEST, LARGEST = 10, 34
"""Radius of a shape, in pixels."""
ROD_WIDTH = (2.0, 4.0)
EMPTY = 10
"""Every tenth scene has no shape."""
Grid = npt.NDArray[np.float64]
Region = npt.NDArray[np.bool_]

README = """\
Scenes of shapes
================

{images} images of {width} x {height} pixels in train, val and test, drawn by a program: disks, rings
(with a hole), squares, crosses and thin rods of 2 to 4 pixels that cover each other in part, on a ground of
soft patches and noise. Classes have hues of their own that scatter.

Two forms of the same truth:
- semantic: masks/<split>/<name>.png, 8-bit index images; the value of a pixel is the number of a line in
  classes.txt, from 0 (ground). Every pixel has a class.
- instances: annotations/<split>.json in COCO's form, an annotation a shape with the pixels that can be seen
  of it as uncompressed run lengths, and its box. Category ids are the masks' values.

Made with seed {seed}.
"""


def write_shapes_scenes(folder: Path, seed: int = 0) -> Path:
    """Writes ``images/<split>``, ``masks/<split>``, ``annotations/<split>.json``, classes.txt and README.txt.

    The same seed gives the same files.

    Args:
        folder: where to write; made when it is missing.
        seed: of everything that is drawn.

    Returns:
        The folder.
    """
    for index, (split, count) in enumerate(COUNTS.items()):
        for part in ("images", "masks"):
            (folder / part / split).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            draw = np.random.default_rng((seed, index, number))
            scene = Scene(draw)
            for _ in range(0 if number % EMPTY == EMPTY - 1 else int(draw.integers(FEWEST, MOST + 1))):
                scene.add(str(draw.choice(CLASSES[1:])))
            name = f"{number:04d}.png"
            scene.photo().save(folder / "images" / split / name)
            Image.fromarray(scene.classes).save(folder / "masks" / split / name)
            images.append({"id": number + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
            for entry in scene.annotations():
                annotations.append({"id": len(annotations) + 1, "image_id": number + 1, **entry})
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES) if number]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    text = README.format(images=sum(COUNTS.values()), width=WIDTH, height=HEIGHT, seed=seed)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    return folder


class Scene:
    """An image in the making.

    Attributes:
        classes: (HEIGHT, WIDTH) class numbers.
        shapes: (HEIGHT, WIDTH) number of the shape that each pixel shows, from 1; 0: the ground.
    """

    def __init__(self, draw: np.random.Generator) -> None:
        self.draw = draw
        self.classes = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.shapes = np.zeros((HEIGHT, WIDTH), np.uint8)
        self._labels: list[int] = []
        self._pixels = _ground(draw)

    def add(self, name: str) -> None:
        """Puts a shape in front of what is there."""
        region = _REGIONS[name](*_placed(self.draw), self.draw)
        number = CLASSES.index(name)
        self._labels.append(number)
        self.classes[region] = number
        self.shapes[region] = len(self._labels)
        hue = (HUES[name] + self.draw.normal(0, HUE_SPREAD)) % 1
        color = colorsys.hsv_to_rgb(hue, self.draw.uniform(0.45, 0.95), self.draw.uniform(0.45, 0.95))
        shade = np.linspace(-1, 1, WIDTH)[None, :, None] * self.draw.uniform(-25, 25)
        self._pixels[region] = (np.array(color) * 255 + shade + np.zeros_like(self._pixels))[region]

    def photo(self) -> Image.Image:
        """The image, with noise."""
        noisy = self._pixels + self.draw.normal(0, 9, self._pixels.shape)
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))

    def annotations(self) -> list[dict[str, Any]]:
        """What can be seen of each shape, as COCO writes it; hidden shapes are left out."""
        labels = enumerate(self._labels, start=1)
        found = (annotation(self.shapes == number, label) for number, label in labels)
        return [one for one in found if one is not None]


def _ground(draw: np.random.Generator) -> Grid:
    """Soft patches of dull colors."""
    coarse = draw.uniform(70, 175, (5, 6, 1)) + draw.normal(0, 12, (5, 6, 3))
    patches = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    return np.asarray(patches.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.float64)


def _placed(draw: np.random.Generator) -> tuple[Grid, Grid, float]:
    """Coordinates of all pixels around a shape's middle, turned at random; and its radius."""
    x, y = draw.uniform(0, WIDTH), draw.uniform(0, HEIGHT)
    angle, radius = draw.uniform(0, np.pi), draw.uniform(SMALLEST, LARGEST)
    across = np.arange(WIDTH)[None, :] + 0.5 - x
    down = np.arange(HEIGHT)[:, None] + 0.5 - y
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * across + sin * down, cos * down - sin * across, float(radius)


def _disk(u: Grid, v: Grid, radius: float, draw: np.random.Generator) -> Region:
    del draw
    return np.hypot(u, v) < radius


def _ring(u: Grid, v: Grid, radius: float, draw: np.random.Generator) -> Region:
    distance = np.hypot(u, v)
    return (distance < radius) & (distance > radius * draw.uniform(0.45, 0.7))


def _square(u: Grid, v: Grid, radius: float, draw: np.random.Generator) -> Region:
    del draw
    return np.maximum(np.abs(u), np.abs(v)) < 0.8 * radius


def _cross(u: Grid, v: Grid, radius: float, draw: np.random.Generator) -> Region:
    width = radius * draw.uniform(0.25, 0.4)
    near, far = np.minimum(np.abs(u), np.abs(v)), np.maximum(np.abs(u), np.abs(v))
    return (near < width) & (far < radius)


def _rod(u: Grid, v: Grid, radius: float, draw: np.random.Generator) -> Region:
    return (np.abs(v) < draw.uniform(*ROD_WIDTH) / 2) & (np.abs(u) < 2.5 * radius)


_REGIONS: dict[str, Callable[[Grid, Grid, float, np.random.Generator], Region]] = {
    "disk": _disk,
    "ring": _ring,
    "square": _square,
    "cross": _cross,
    "rod": _rod,
}
