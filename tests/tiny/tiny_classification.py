"""The smallest classification that learns something: a network of 0.4 million parameters, 32 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tao_like
from tao_like.config import load_spec
from tao_like.tasks import spec_module

TINY = (
    "model.backbone.type=test_resnet",
    "dataset.img_size=32",
    "dataset.batch_size=8",
    "dataset.workers=0",
    "dataset.augmentation.with_scale_random_crop.scale_range=[0.8,1.0]",
    "train.optim.lr=1e-2",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
)
SPLITS = ("train", "val", "test")
UNCHANGED = (
    "dataset.augmentation.with_scale_random_crop.enable=false",
    "dataset.augmentation.random_flip.enable=false",
    "dataset.augmentation.random_color.enable=false",
)
"""Overrides that leave training images as evaluation preprocesses them."""


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the class folders of each split below a folder."""
    return [f"dataset.{split}_dataset.images_dir={folder / split}" for split in SPLITS]


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage of classification with the tiny settings; what is given last wins."""
    return tao_like.run(
        "classification", stage, None, [*TINY, f"results_dir={results}", *overrides], quiet=True
    )


def tiny_spec(*overrides: str) -> Any:
    """The resolved spec of such a run."""
    return load_spec(spec_module("classification").Spec, None, [*TINY, *overrides]).spec
