"""Small images with colored squares and discs, whose boxes are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sample_images import COLORS

SIZES: Mapping[str, int] = {"train": 16, "val": 6, "test": 6}
IDS = {"blue": 3, "green": 7, "red": 90}
"""Category ids with gaps, as COCO has them."""


def scene(seed: int, width: int = 96, height: int = 64) -> tuple[Image.Image, list[tuple[str, list[int]]]]:
    """An image with one to three figures, and for each its class and left, top, width, height."""
    draw = np.random.default_rng(seed)
    image = Image.fromarray(draw.integers(70, 130, (height, width, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    objects = []
    for slot in range(int(draw.integers(1, 4))):
        name = sorted(COLORS)[int(draw.integers(3))]
        side = int(draw.integers(16, 30))
        left = slot * width // 3 + int(draw.integers(0, max(1, width // 3 - side)))
        top = int(draw.integers(0, height - side))
        pen.rectangle((left, top, left + side - 1, top + side - 1), fill=COLORS[name])
        objects.append((name, [left, top, side, side]))
    return image, objects


def write_coco(folder: Path, sizes: Mapping[str, int] = SIZES) -> Path:
    """Writes ``<split>/<number>.png`` and ``<split>.json``; the first image of each split has no object."""
    seed = 0
    for split, count in sizes.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for number in range(count):
            image, objects = scene(seed)
            if number == 0:
                image, objects = Image.new("RGB", (96, 64), (90, 100, 110)), []
            name = f"{number:03d}.png"
            image.save(folder / split / name)
            images.append({"id": 100 + number, "file_name": name, "width": 96, "height": 64})
            annotations += [
                annotation(len(annotations) + at, 100 + number, *each) for at, each in enumerate(objects)
            ]
            seed += 1
        categories = [{"id": number, "name": name} for name, number in IDS.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def annotation(number: int, image: int, name: str, box: list[int]) -> dict[str, Any]:
    """An entry of COCO's annotations."""
    return {
        "id": number,
        "image_id": image,
        "category_id": IDS[name],
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
    }
