"""The smallest pose classification that learns something: two blocks of ST-GCN, 12 frames, three actions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like.config import load_spec
from tao_like.samples.skeleton_actions import action_sequence
from tao_like.tasks import spec_module

ACTIONS = ("clap", "jump", "walk")
SIZES = {"train": 24, "val": 9, "test": 9}
FRAMES = 24
TINY = (
    "model.graph_layout=openpose",
    "model.base_channels=64",
    "model.num_blocks=2",
    "model.dropout=0",
    "dataset.window_size=12",
    "dataset.batch_size=8",
    "train.optim.lr=2e-2",
    "train.accelerator=cpu",
    "train.tensorboard.enabled=false",
    "dataset_convert.format=csv",
    "dataset_convert.num_joints=18",
    "dataset_convert.on_error=skip",
)


def data_overrides(folder: Path) -> list[str]:
    """Overrides that name the arrays and labels of each split below a folder."""
    arrays = [
        f"dataset.{split}_dataset.{what}_path={folder / f'{split}_{what}.{suffix}'}"
        for split in SIZES
        for what, suffix in (("data", "npy"), ("label", "json"))
    ]
    return [*arrays, f"dataset_convert.data={folder / 'tables'}"]


def sequence(number: int, action: str, layout: str = "openpose") -> np.ndarray:
    """(3, FRAMES, V, 1): an action, from its beginning."""
    return action_sequence(action, layout, np.random.default_rng(number))[:, :FRAMES]


def write_actions(folder: Path, layout: str = "openpose") -> Path:
    """Writes arrays and labels for train, val and test, and a few sequences as tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, (split, count) in enumerate(SIZES.items()):
        labels = [number % len(ACTIONS) for number in range(count)]
        names = [f"{split} {number}" for number in range(count)]
        data = [
            sequence(1000 * place + number, ACTIONS[label], layout) for number, label in enumerate(labels)
        ]
        np.save(folder / f"{split}_data.npy", np.stack(data))
        content = {"names": names, "labels": labels, "classes": list(ACTIONS)}
        (folder / f"{split}_label.json").write_text(json.dumps(content))
    for number, action in enumerate(ACTIONS):
        write_table(folder / "tables" / action / f"{number}.csv", sequence(number, action, layout))
    return folder


def write_table(path: Path, values: np.ndarray) -> None:
    """Writes a sequence of one person as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ["frame,person,joint,x,y,z"]
    for frame, joint in np.ndindex(values.shape[1:3]):
        x, y, z = values[:, frame, joint, 0]
        rows.append(f"{frame},0,{joint},{x},{y},{z}")
    path.write_text("\n".join(rows))


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage with the tiny settings; what is given last wins."""
    words = [*TINY, f"results_dir={results}", *overrides]
    return tao_like.run("pose_classification", stage, None, words, quiet=True)


def tiny_spec(*overrides: str) -> Any:
    """The resolved spec of such a run."""
    return load_spec(spec_module("pose_classification").Spec, None, [*TINY, *overrides]).spec
