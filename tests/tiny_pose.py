"""The smallest pose classification that learns something: two blocks of 6 channels, 12 frames, three actions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like.datasets.samples_skeletons import action_sequence
from tao_like.spec import load_spec
from tao_like.tasks import spec_module

ACTIONS = ("clap", "jump", "walk")
SIZES = {"train": 24, "val": 9, "test": 9}
FRAMES = 24
TINY = (
    "model.graph_layout=openpose",
    "model.model_type=ST-GCN++",
    "model.base_channels=8",
    "model.num_blocks=2",
    "model.dropout=0",
    "dataset.window_size=12",
    "dataset.batch_size=8",
    "train.optim.lr=2e-2",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
)


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the arrays and labels of each split below a folder."""
    return [
        f"dataset.{split}_dataset.{what}_path={folder / f'{split}_{what}.{suffix}'}"
        for split in SIZES
        for what, suffix in (("data", "npy"), ("label", "json"))
    ]


def sequence(number: int, action: str, layout: str = "openpose") -> np.ndarray:
    """(3, FRAMES, V, 1): an action, from its beginning."""
    return action_sequence(action, layout, np.random.default_rng(number))[:, :FRAMES]


def write_actions(folder: Path, layout: str = "openpose") -> Path:
    """Writes arrays and labels for train, val and test."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, (split, count) in enumerate(SIZES.items()):
        labels = [number % len(ACTIONS) for number in range(count)]
        names = [f"{split} {number}" for number in range(count)]
        data = [sequence(1000 * place + number, ACTIONS[label], layout) for number, label in enumerate(labels)]
        np.save(folder / f"{split}_data.npy", np.stack(data))
        content = {"names": names, "labels": labels, "classes": list(ACTIONS)}
        (folder / f"{split}_label.json").write_text(json.dumps(content))
    return folder


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage with the tiny settings; what is given last wins."""
    words = [*TINY, f"results_dir={results}", *overrides]
    return tao_like.run("pose_classification", stage, None, words, quiet=True)


def tiny_spec(*overrides: str) -> Any:
    """The resolved spec of such a run."""
    return load_spec(spec_module("pose_classification").Spec, None, [*TINY, *overrides]).spec
