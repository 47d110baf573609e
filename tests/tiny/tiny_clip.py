"""The smallest pair of towers that learns something: 16 pixels, a text tower of one block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tao_like
from tao_like.config import load_spec
from tao_like.tasks import spec_module

TINY = (
    "model.type=conv_tiny",
    "model.image_size=16",
    "model.embed_dim=16",
    "model.text={width: 32, layers: 1, heads: 2}",
    "model.tokenizer.context_length=12",
    "dataset.batch_size=8",
    "dataset.workers=0",
    "train.optim.lr=3e-3",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
)
SPLITS = ("train", "val", "test")


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the class folders of each split below a folder."""
    return [f"dataset.{split}_dataset.images_dir={folder / split}" for split in SPLITS]


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage of clip with the tiny settings; what is given last wins."""
    return tao_like.run("clip", stage, None, [*TINY, f"results_dir={results}", *overrides], quiet=True)


def tiny_spec(*overrides: str) -> Any:
    """The resolved spec of such a run."""
    return load_spec(spec_module("clip").Spec, None, [*TINY, *overrides]).spec
