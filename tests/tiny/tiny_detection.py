"""The smallest detection that learns something: a network of 0.5 million parameters, 64 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tao_like
from tao_like.config import load_spec
from tao_like.tasks import spec_module

TINY = (
    "model.backbone.type=test_resnet",
    "model.neck.width=16",
    "model.postprocess.max_detections=20",
    "dataset.img_size=96",
    "dataset.img_height=64",
    "dataset.batch_size=4",
    "dataset.workers=0",
    "dataset.augmentation.plain_epochs=1",
    "train.optim.lr=1e-2",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
)


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the COCO files of each split below a folder."""
    sources = {
        split: f"{{image_dir: '{folder / split}', json_file: '{folder / split}.json'}}"
        for split in ("train", "val", "test")
    }
    return [f"dataset.{split}_data_sources=[{source}]" for split, source in sources.items()]


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage of detection with the tiny settings; what is given last wins."""
    return tao_like.run("detection", stage, None, [*TINY, f"results_dir={results}", *overrides], quiet=True)


def tiny_spec(*overrides: str) -> Any:
    """The resolved spec of such a run."""
    return load_spec(spec_module("detection").Spec, None, [*TINY, *overrides]).spec
