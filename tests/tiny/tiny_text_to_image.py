"""The smallest networks that make images of sentences, and pairs for them: shapes of 16 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tao_like.samples.shapes_captions import all_shapes, draw_shape

SIDE = 16
SIZES = {"train": 40, "val": 8, "test": 8}
ATTRIBUTES = (
    "{shape: [circle, square, triangle, cross], color: [red, green, blue, yellow, purple, cyan], "
    "size: [small, large]}"
)
SMALLEST = (
    f"model.image_size={SIDE}",
    "model.context_length=12",
    "model.dalle.dvae_width=8",
    "model.dalle.dvae_blocks=1",
    "model.dalle.width=16",
    "model.dalle.layers=1",
    "model.dalle.heads=2",
    "model.glide.channels=8",
    "model.glide.patch=4",
    "model.diffusion.prediction=x0",
    "model.glide.multipliers=[1,2]",
    "model.glide.text_width=16",
    "model.glide.text_heads=2",
    "model.glide.head_channels=8",
    "model.glide.blocks=1",
    "model.glide.attention=[2]",
    "model.glide.text_layers=1",
    "model.unclip.embedding=16",
    "model.unclip.clip_channels=[8,8,8]",
    "model.unclip.text_width=16",
    "model.unclip.text_layers=1",
    "model.unclip.text_heads=2",
    "model.unclip.prior_width=16",
    "model.unclip.prior_layers=1",
    "model.unclip.prior_heads=2",
    "model.unclip.prior_codes=4",
    "model.unclip.prior_buckets=16",
    "sampling.unclip.prior_steps=3",
    "sampling.steps=4",
    "train.gate={psnr: 0, codes_used: 0, accuracy: 0}",
)
TINY = (
    *SMALLEST,
    f"dataset.attributes={ATTRIBUTES}",
    "dataset.batch_size=8",
    "train.optim.lr=3e-3",
    "train.enable_ema=false",
    "train.keep=best",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
    "inference.num_images=1",
)


def write_pairs(folder: Path, sizes: dict[str, int] | None = None) -> Path:
    """Writes a folder a split, with a text file beside each image."""
    for number, (split, count) in enumerate((sizes or SIZES).items()):
        generator = np.random.default_rng([7, number])
        (folder / split).mkdir(parents=True, exist_ok=True)
        shapes = all_shapes()
        for index in range(count):
            one = shapes[(index * 37 + number * 11) % len(shapes)]
            path = folder / split / f"{index:03d}.png"
            Image.fromarray(draw_shape(one, generator, SIDE)).save(path)
            path.with_suffix(".txt").write_text("\n".join(one.captions()), encoding="utf-8")
    return folder


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the splits below a folder."""
    return [f"dataset.{split}_dataset.images_dir={folder / split}" for split in SIZES]
