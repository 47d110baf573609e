"""Makes the contact sheets of docs/images from models of text_to_image that were trained on shapes_captions.

`python docs/make_sheets.py FOLDER`, where FOLDER is what `benchmarks/text_to_image_shapes.py --folder FOLDER`
has left: FOLDER/shapes, and exported models in FOLDER/<arch>/0/export/model. Needs no torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tao_like.plots.grids import image_grid
from tao_like.runtime import load

IMAGES = Path(__file__).parent / "images"
SIDE = 64
"""Pixels of an image on a sheet; they are made with 32."""
PROMPTS = (
    "a large green cross in the middle",
    "a small red square at the top left",
    "a large cyan circle at the bottom right",
    # These pairs of color and shape were never trained.
    "a small red triangle at the top left",
    "a large blue circle at the bottom right",
    "a large yellow cross in the middle",
)
SEEDS = 6


def main(arguments: Sequence[str]) -> None:
    """Draws the sheets of the models that there are."""
    folder = Path(arguments[0])
    sheets: dict[str, Callable[[Any, list[Image.Image]], Iterable[Any]]] = {
        "dalle": prompted,
        "glide": painted,
        "unclip": begun,
    }
    shown = real_images(folder / "shapes")
    for arch, rows in sheets.items():
        exported = folder / arch / "0" / "export" / "model"
        if exported.is_dir():
            save([list(row) for row in rows(load(exported), shown)], f"text_to_image_{arch}.png")


def real_images(shapes: Path) -> list[Image.Image]:
    """Images of the test, by what their captions begin with."""
    lines = [json.loads(line) for line in (shapes / "test.jsonl").read_text("utf-8").splitlines()]
    wanted = (
        "a large red square in the middle",
        "a large green triangle at the top right",
        "a large purple circle",
    )
    return [
        Image.open(shapes / next(line["image"] for line in lines if line["captions"][0].startswith(caption)))
        for caption in wanted
    ]


def prompted(model: Any, shown: list[Image.Image]) -> Iterable[Any]:
    """A row a prompt, a seed a column."""
    del shown
    for prompt in PROMPTS:
        yield model.generate([prompt] * SEEDS, seed=0)


def painted(model: Any, shown: list[Image.Image]) -> Iterable[Any]:
    """Prompts at guidance 0, 1 and 3, a hole in an image painted anew, and one begun from another image."""
    yield from prompted(model, shown)
    for scale in (0, 1):
        yield model.generate(list(PROMPTS), seed=0, guidance_scale=scale)
    # Training images have one shape each, so the hole is in an empty ground.
    side = model.generator.height
    ground = Image.new("RGB", (side, side), (128, 128, 128))
    mask = np.zeros((side, side), np.uint8)
    mask[side // 8 : -side // 8, side // 8 : -side // 8] = 255
    colors = ("green", "purple", "yellow", "cyan", "red")
    asked = [f"a small {color} circle in the middle" for color in colors]
    yield [ground, *model.generate(asked, image=ground, mask=mask)]
    asked = [f"a large {color} square in the middle" for color in colors]
    yield [shown[0], *model.generate(asked, image=shown[0], strength=0.9)]


def begun(model: Any, shown: list[Image.Image]) -> Iterable[Any]:
    """Prompts; then images that begin with an image, which stands first in each row."""
    yield from prompted(model, shown)
    first, other, third = shown
    for eta in (0.0, 1.0):
        yield [first, *model.generate([""] * (SEEDS - 1), image=first, eta=eta, guidance_scale=1.0)]
    yield model.generate([""] * SEEDS, image=first, image_to=other)
    words = "a large {} square in the middle"
    change = {"image": first, "caption": words.format("red")}
    yield [first, *model.generate([words.format("blue")] * (SEEDS - 1), **change)]
    yield model.generate([""] * SEEDS, image=third, components=[1, 2, 4, 16, 64])


def save(rows: list[list[Any]], name: str) -> None:
    """Writes a sheet with a row a list."""
    images = [one if isinstance(one, Image.Image) else one.image for row in rows for one in row]
    grid = image_grid(
        [one.resize((SIDE, SIDE), Image.Resampling.NEAREST) for one in images], columns=SEEDS, gap=4
    )
    path = IMAGES / name
    grid.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {grid.width} x {grid.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
