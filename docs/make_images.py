"""Makes docs/images from the project's own samples: a detector of handwritten digits and what it leaves.

`python docs/make_images.py` takes some minutes, needs the extra ``demo`` and downloads nothing. With a
folder as argument, what it has trained there before is used again.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import tao_like
from tao_like.notebook import training_curves
from tao_like.plots.grids import image_grid
from tao_like.samples.catalog import write_sample
from tao_like.tasks.detection.init import write_spec

IMAGES = Path(__file__).parent / "images"
# Smaller images and fewer epochs than `init` proposes. Digits must not be mirrored.
QUICK = (
    "dataset.img_size=192",
    "dataset.img_height=160",
    "dataset.augmentation.horizontal_flip_prob=0",
    "dataset.augmentation.plain_epochs=2",
    "train.num_epochs=9",
)
CURVES = ("train/loss_box", "train/loss_class", "val/mAP50")
LARGEST = 120_000
"""Bytes of an image: the README must open quickly."""


def main(arguments: Sequence[str]) -> None:
    """Trains, measures and draws."""
    if arguments:
        make_images(Path(arguments[0]))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder))


def make_images(folder: Path) -> None:
    """Writes every image; works in ``folder``."""
    scenes, spec = folder / "scenes", folder / "detection.yaml"
    overrides = (*QUICK, f"results_dir={folder / 'results'}")
    trained = folder / "results" / "train"
    if not (trained / "model.tltb").is_file():
        write_spec(write_sample("digit_scenes", scenes), spec, force=True)
        tao_like.run("detection", "train", spec, overrides)
    save(training_curves({"digits": trained}, CURVES), "training_curves.png")

    checked = tao_like.run("detection", "dataset_check", spec, overrides)
    save(Image.open(checked.folder / "box_sizes.png"), "box_sizes.png")

    scored = tao_like.run("detection", "evaluate", spec, overrides)
    save(Image.open(scored.folder / "precision_recall.png"), "precision_recall.png")

    found = tao_like.run("detection", "inference", spec, (*overrides, "inference.max_pictures=80"))
    with (found.folder / "predictions.csv").open(newline="", encoding="utf-8") as lines:
        counts = [int(row["objects"]) for row in csv.DictReader(lines)]
    # Rows and images have one order. The first ones that are neither empty nor crowded.
    files = sorted((found.folder / "pictures").iterdir())
    chosen = [file for file, count in zip(files, counts, strict=True) if 3 <= count <= 5][:6]
    images = [Image.open(file).resize((320, 240), Image.Resampling.LANCZOS) for file in chosen]
    grid = image_grid(images, columns=3)
    save(grid, "detection_predictions.jpg")

    # This file and torch differ by 0.0002, which is more than export allows by itself.
    tao_like.run("detection", "export", spec, (*overrides, "export.tolerance=0.001"))
    tao_like.run("detection", "quantize", spec, overrides)
    compared = tao_like.run("detection", "compare", spec, overrides)
    save(Image.open(compared.folder / "comparison.png"), "comparison.png")


def save(image: Image.Image, name: str) -> None:
    """Writes an image as small as it can be without being seen to be.

    Raises:
        SystemExit: it is larger than it may be.
    """
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / name
    image = image.convert("RGB")
    if path.suffix == ".png":
        image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    else:
        image.save(path, quality=75, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {image.width} x {image.height}, {size / 1000:.0f} kB")
    if size > LARGEST:
        raise SystemExit(f"{path} has {size} bytes, and may have {LARGEST}")


if __name__ == "__main__":
    main(sys.argv[1:])
