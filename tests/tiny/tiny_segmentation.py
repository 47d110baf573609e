"""The smallest segmentation that learns something: a network of 0.5 million parameters, 64 x 48 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import tao_like
from tao_like.config import load_spec
from tao_like.tasks import spec_module

TINY = (
    "model.backbone.type=test_resnet",
    "model.decode_head.channels=[32,16,16,8,8]",
    "dataset.img_size=64",
    "dataset.img_height=64",
    "dataset.batch_size=4",
    "dataset.workers=0",
    "train.optim.lr=1e-2",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
)
SIZES: Mapping[str, int] = {"train": 12, "val": 6, "test": 6}
COLORS = {"ground": (90, 90, 90), "disk": (40, 60, 230), "bar": (230, 40, 40)}
CLASSES = tuple(COLORS)
WIDTH, HEIGHT = 64, 48
PALETTE = "[" + ", ".join(f"{{label_id: {n}, seg_class: {name}}}" for n, name in enumerate(CLASSES)) + "]"


def scene(seed: int, names: tuple[str, ...] = CLASSES) -> tuple[Image.Image, np.ndarray]:
    """A photo with a disk and a bar on noisy ground, and its class map; the bar lies in front."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(70, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    pen = ImageDraw.Draw(mask)
    x, y, radius = draw.integers(14, 50), draw.integers(12, 36), draw.integers(8, 14)
    if "disk" in names:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    left = int(draw.integers(2, 50))
    if "bar" in names:
        pen.rectangle((left, 0, left + int(draw.integers(5, 9)), HEIGHT), fill=2)
    classes = np.asarray(mask)
    for number, name in enumerate(CLASSES[1:], start=1):
        tint = np.clip(np.array(COLORS[name]) + draw.integers(-20, 20, 3), 0, 255)
        pixels[classes == number] = tint
    return Image.fromarray(pixels), classes


def write_masks(folder: Path, sizes: Mapping[str, int] = SIZES, names: tuple[str, ...] = CLASSES) -> Path:
    """Writes ``images/<split>`` and ``masks/<split>``; no photo is like another."""
    seed = 0
    for split, count in sizes.items():
        for part in ("images", "masks"):
            (folder / part / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photo, classes = scene(seed, names)
            photo.save(folder / "images" / split / f"{number:03d}.png")
            Image.fromarray(classes).save(folder / "masks" / split / f"{number:03d}.png")
            seed += 1
    return folder


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the data of each split below a folder, and its classes."""
    folders = [
        f"dataset.{split}_dataset.{key}_dir={folder / key / split}"
        for split in SIZES
        for key in ("images", "masks")
    ]
    return [*folders, f"dataset.palette={PALETTE}"]


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage of segmentation with the tiny settings; what is given last wins."""
    return tao_like.run(
        "segmentation", stage, None, [*TINY, f"results_dir={results}", *overrides], quiet=True
    )


def tiny_spec(*overrides: str) -> Any:
    """The resolved spec of such a run."""
    return load_spec(spec_module("segmentation").Spec, None, [*TINY, *overrides]).spec
