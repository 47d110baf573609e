"""The smallest instance segmentation that learns something: small Mask R-CNN, images of 96 x 64 pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mask_outlines import polygons_of_mask
from PIL import Image, ImageDraw

import tao_like
from tao_like.config import load_spec
from tao_like.data.masks.runs import encode_mask
from tao_like.tasks import spec_module

TINY = (
    "model.backbone.type=test_resnet",
    "model.neck.width=16",
    "model.faster_rcnn.representation_size=32",
    "model.faster_rcnn.rpn_pre_nms_top_n_test=60",
    "model.faster_rcnn.rpn_post_nms_top_n_test=30",
    "model.faster_rcnn.rpn_post_nms_top_n_train=40",
    # Losses take all anchors and regions: which ones a draw takes would change with the last bit of a score.
    "model.faster_rcnn.rpn_batch_size_per_image=4096",
    "model.faster_rcnn.box_batch_size_per_image=256",
    "model.faster_rcnn.anchor_sizes=[12,20,30,45,64]",
    "model.mask_head.width=16",
    "model.mask_head.depth=2",
    "model.postprocess.max_detections=10",
    "model.postprocess.score_threshold=0.01",
    "dataset.img_size=96",
    "dataset.img_height=64",
    "dataset.batch_size=2",
    "dataset.workers=0",
    "dataset.augmentation.plain_epochs=1",
    "train.optim.lr=1e-2",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
)
SIZES: Mapping[str, int] = {"train": 12, "val": 4, "test": 4}
IDS = {"bar": 3, "disk": 7}
"""Category ids with gaps, as COCO has them."""
COLORS = {"bar": (230, 40, 40), "disk": (40, 60, 230)}
WIDTH, HEIGHT = 96, 64


def scene(seed: int) -> tuple[Image.Image, list[tuple[str, np.ndarray]]]:
    """An image with one to three figures, and for each its class and mask (H, W)."""
    draw = np.random.default_rng(seed)
    image = Image.fromarray(draw.integers(70, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    objects = []
    for slot in range(int(draw.integers(1, 4))):
        name = sorted(IDS)[int(draw.integers(2))]
        side = int(draw.integers(18, 30))
        left, top = slot * 32 + int(draw.integers(0, 32 - side + 1)), int(draw.integers(0, HEIGHT - side))
        mask = Image.new("L", (WIDTH, HEIGHT), 0)
        pen = ImageDraw.Draw(mask)
        if name == "disk":
            pen.ellipse((left, top, left + side - 1, top + side - 1), fill=1)
        else:
            pen.rectangle((left, top + side // 4, left + side - 1, top + 3 * side // 4), fill=1)
        image.paste(COLORS[name], mask=mask.point(lambda value: 255 * value))
        objects.append((name, np.asarray(mask)))
    return noisy(image, seed), objects


def noisy(image: Image.Image, seed: int) -> Image.Image:
    """The image with noise: on flat colors scores differ by rounding alone, and so does their order."""
    noise = np.random.default_rng((seed, 1)).normal(0, 12, (HEIGHT, WIDTH, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def write_coco(folder: Path, sizes: Mapping[str, int] = SIZES) -> Path:
    """Writes ``<split>/<number>.png`` and ``<split>.json``.

    The first image of each split has no object; outlines are polygons and runs in turn.
    """
    seed = 0
    for split, count in sizes.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            image, objects = scene(seed)
            if number == 0:
                image, objects = noisy(Image.new("RGB", (WIDTH, HEIGHT), (90, 100, 110)), seed), []
            name = f"{number:03d}.png"
            image.save(folder / split / name)
            images.append({"id": 100 + number, "file_name": name, "width": WIDTH, "height": HEIGHT})
            annotations += [
                annotation(len(annotations) + at, 100 + number, *each) for at, each in enumerate(objects)
            ]
            seed += 1
        categories = [{"id": number, "name": name} for name, number in IDS.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


def write_panoptic(folder: Path, sizes: Mapping[str, int] = SIZES) -> Path:
    """Writes ``<split>/<number>.png``, ``panoptic_<split>.json`` and ``panoptic_<split>/<number>.png``.

    Bars are things; disks are a region, one an image. Nothing else of an image belongs to a class.
    """
    seed = 0
    for split, count in sizes.items():
        for part in (split, f"panoptic_{split}"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            image, objects = scene(seed)
            name = f"{number:03d}.png"
            image.save(folder / split / name)
            colors, segments = panoptic_segments(objects)
            Image.fromarray(colors).save(folder / f"panoptic_{split}" / name)
            images.append({"id": 100 + number, "file_name": name, "width": WIDTH, "height": HEIGHT})
            annotations.append({"image_id": 100 + number, "file_name": name, "segments_info": segments})
            seed += 1
        categories = [{"id": IDS[name], "name": name, "isthing": int(name == "bar")} for name in IDS]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"panoptic_{split}.json").write_text(json.dumps(content))
    return folder


def panoptic_segments(objects: list[tuple[str, np.ndarray]]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Colors (H, W, 3) and COCO's entries of the segments of an image; ids take all three bytes."""
    parts = [(name, mask) for name, mask in objects if name == "bar"]
    disks = [mask for name, mask in objects if name == "disk"]
    if disks:
        parts.append(("disk", np.max(disks, axis=0)))
    colors, segments = np.zeros((HEIGHT, WIDTH, 3), np.uint8), []
    for number, (name, mask) in enumerate(parts, start=1):
        colors[mask > 0] = (number, 7, 9)
        found = annotation(0, 0, name, mask)
        kept = {key: found[key] for key in ("category_id", "bbox", "area", "iscrowd")}
        segments.append({"id": number + 7 * 256 + 9 * 256 * 256, **kept})
    return colors, segments


def annotation(number: int, image: int, name: str, mask: np.ndarray) -> dict[str, Any]:
    """An entry of COCO's annotations."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "image_id": image,
        "category_id": IDS[name],
        "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": polygons_of_mask(mask) if number % 2 else dict(encode_mask(mask)),
    }


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the COCO files of each split below a folder."""
    sources = {
        split: f"{{image_dir: '{folder / split}', json_file: '{folder / split}.json'}}" for split in SIZES
    }
    return [f"dataset.{split}_data_sources=[{source}]" for split, source in sources.items()]


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage of instance segmentation with the tiny settings; what is given last wins."""
    words = [*TINY, f"results_dir={results}", *overrides]
    return tao_like.run("instance_segmentation", stage, None, words, quiet=True)


def tiny_spec(*overrides: str) -> Any:
    """The resolved spec of such a run."""
    return load_spec(spec_module("instance_segmentation").Spec, None, [*TINY, *overrides]).spec
