"""Small images that any network can tell apart: a colored square, circle or cross on a noisy ground."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32
COLORS = {"blue": (40, 60, 230), "green": (40, 200, 60), "red": (230, 40, 40)}
CLASSES = tuple(COLORS)
SIZES: Mapping[str, int] = {"train": 8, "val": 4, "test": 4}
"""Images of each class in a split."""


def shape(names: Sequence[str], seed: int, side: int = SIDE) -> Image.Image:
    """An image with one figure for each name, each in its own quarter or, where it is alone, the middle."""
    draw = np.random.default_rng(seed)
    image = Image.fromarray(draw.integers(70, 130, (side, side, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    for name in names:
        fraction = 0.6 if len(names) == 1 else 0.4
        size = fraction * side
        place = 0.0 if len(names) == 1 else CLASSES.index(name) * 0.3
        left = (0.2 + draw.uniform(-0.1, 0.1)) * side if len(names) == 1 else place * side
        box = (left, left, left + size, left + size)
        tint = tuple(int(value) for value in np.clip(COLORS[name] + draw.integers(-20, 20, 3), 0, 255))
        if draw.random() < 0.5:
            pen.ellipse(box, fill=tint)
        else:
            pen.rectangle(box, fill=tint)
    return image


def write_class_folders(folder: Path, sizes: Mapping[str, int] = SIZES, side: int = SIDE) -> Path:
    """Writes ``<split>/<class>/<number>.png``; no image is like another."""
    seed = 0
    for split, count in sizes.items():
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                shape([name], seed, side).save(folder / split / name / f"{number:03d}.png")
                seed += 1
    return folder


def write_multi_label_csv(folder: Path, count: int = 36, side: int = SIDE) -> Path:
    """Writes images with none, one or several figures, and ``labels.csv`` that lists them."""
    (folder / "pictures").mkdir(parents=True)
    draw = np.random.default_rng(0)
    rows = []
    for number in range(count):
        names = [name for name in CLASSES if draw.random() < 0.5]
        shape(names, 1000 + number, side).save(folder / "pictures" / f"{number:03d}.png")
        rows.append((f"pictures/{number:03d}.png", ";".join(names)))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return folder / "labels.csv"


def damage(path: Path) -> None:
    """Keeps an image's head, so that only decoding it shows the damage."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
