"""Images of one colored shape each, with captions; some pairs of color and shape are never trained."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 32
SHAPES = ("circle", "square", "triangle", "cross")
COLORS = {
    "red": (214, 40, 40),
    "green": (44, 160, 60),
    "blue": (45, 80, 215),
    "yellow": (240, 210, 40),
    "purple": (140, 50, 170),
    "cyan": (60, 200, 215),
}
SIZES = {"small": 0.17, "large": 0.28}
"""Radius as a fraction of the side."""
PLACES = {
    "at the top left": (0.3, 0.3),
    "at the top right": (0.7, 0.3),
    "in the middle": (0.5, 0.5),
    "at the bottom left": (0.3, 0.7),
    "at the bottom right": (0.7, 0.7),
}
HELD_OUT = (("red", "triangle"), ("blue", "circle"), ("yellow", "cross"), ("purple", "square"))
"""Pairs that training and validation never show; the test does."""
IMAGES = {"train": 10, "val": 1, "test": 2}
"""Of each caption."""
_SUPERSAMPLING = 3
_TRIANGLE = np.array([[0.0, -1.0], [0.95, 0.75], [-0.95, 0.75]])
_ARM = 0.34

README = """\
Shapes with captions
====================

{total} drawn images of {side} x {side} pixels, each of one shape on a grey ground, with captions that say
size, color, shape and place: 4 shapes, 6 colors, 2 sizes, 5 places, so 240 captions. The files train.jsonl,
val.jsonl and test.jsonl have a line an image: its file, its captions (three wordings of the whole, and three
that say a part of it), its label (color and shape) and its group.

{held_out} are never trained and never validated: test.jsonl has them in the group `held_out`, and all others
in the group `trained`. Who learns the words by themselves knows these images too.

Made with seed {seed}; no image is taken from anywhere.
"""


@dataclass(frozen=True)
class Shape:
    """What an image shows."""

    size: str
    color: str
    shape: str
    place: str

    @property
    def label(self) -> str:
        """Color and shape."""
        return f"{self.color} {self.shape}"

    @property
    def is_held_out(self) -> bool:
        """Whether its pair of color and shape is never trained."""
        return (self.color, self.shape) in HELD_OUT

    def captions(self) -> list[str]:
        """The whole in three wordings, and three times a part of it."""
        return [
            f"a {self.size} {self.color} {self.shape} {self.place}",
            f"{self.place} there is a {self.size} {self.color} {self.shape}",
            f"a {self.color} {self.shape}, {self.size}, {self.place}",
            f"a {self.color} {self.shape}",
            f"a {self.size} {self.shape} {self.place}",
            f"something {self.size} and {self.color} {self.place}",
        ]


def all_shapes() -> list[Shape]:
    """The 240 of them."""
    return [Shape(*one) for one in itertools.product(SIZES, COLORS, SHAPES, PLACES)]


def write_shapes_captions(folder: Path, seed: int = 0) -> Path:
    """Writes ``images/<split>/*.png``, ``<split>.jsonl``, ``classes.txt`` and a README.txt.

    The same seed gives the same files.

    Args:
        folder: where to write; made when it is missing.
        seed: of positions, sizes, grounds and noise.

    Returns:
        The folder.
    """
    total = 0
    for number, (split, count) in enumerate(IMAGES.items()):
        generator = np.random.default_rng([seed, number])
        shown = [one for one in all_shapes() if split == "test" or not one.is_held_out]
        total += _write_split(folder, split, [one for one in shown for _ in range(count)], generator)
    labels = sorted({one.label for one in all_shapes()})
    (folder / "classes.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    held_out = ", ".join(" ".join(pair) + "s" for pair in HELD_OUT).replace("crosss", "crosses")
    text = README.format(total=total, side=SIDE, held_out=held_out.capitalize(), seed=seed)
    (folder / "README.txt").write_text(text, encoding="utf-8")
    return folder


def _write_split(folder: Path, split: str, shown: Sequence[Shape], generator: np.random.Generator) -> int:
    images = folder / "images" / split
    images.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, one in enumerate(shown):
        file = images / f"{number:04d}.png"
        Image.fromarray(draw_shape(one, generator)).save(file)
        lines.append(
            json.dumps(
                {
                    "image": file.relative_to(folder).as_posix(),
                    "captions": one.captions(),
                    "label": one.label,
                    "group": "held_out" if one.is_held_out else "trained",
                }
            )
        )
    (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def draw_shape(one: Shape, generator: np.random.Generator, side: int = SIDE) -> npt.NDArray[np.uint8]:
    """An image (side, side, 3) with a radius, a position, a ground and a noise of its own."""
    radius = SIZES[one.size] * generator.uniform(0.93, 1.07)
    center = np.array(PLACES[one.place]) + generator.uniform(-0.03, 0.03, 2)
    steps = (np.arange(side * _SUPERSAMPLING) + 0.5) / (side * _SUPERSAMPLING)
    x, y = (steps[None, :] - center[0]) / radius, (steps[:, None] - center[1]) / radius
    inside = _inside(one.shape, x, y).astype(np.float64)
    cells = inside.reshape(side, _SUPERSAMPLING, side, _SUPERSAMPLING)
    mask = cells.mean(axis=(1, 3))[..., None]
    ground = 128 + 255 * generator.uniform(-0.06, 0.06)
    pixels = mask * np.array(COLORS[one.color]) + (1 - mask) * ground
    pixels = pixels + generator.normal(0, 0.02 * 255, pixels.shape)
    drawn: npt.NDArray[np.uint8] = pixels.round().clip(0, 255).astype(np.uint8)
    return drawn


def _inside(shape: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points lie in a shape about the origin with a radius of 1."""
    if shape == "circle":
        return x**2 + y**2 <= 1
    if shape == "square":
        return np.maximum(abs(x), abs(y)) <= 0.88
    if shape == "cross":
        return (np.minimum(abs(x), abs(y)) <= _ARM) & (np.maximum(abs(x), abs(y)) <= 1)
    within = np.ones(np.broadcast_shapes(x.shape, y.shape), bool)
    for first, second in zip(_TRIANGLE, np.roll(_TRIANGLE, -1, axis=0), strict=True):
        edge = second - first
        within &= edge[0] * (y - first[1]) - edge[1] * (x - first[0]) >= 0
    return within
