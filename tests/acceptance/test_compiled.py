"""Trainings of a compiled network against the same without. Minutes on two cores; needs a C++ compiler."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_classification
import tiny_detection
from box_images import write_coco
from stage_runs import distance
from torch._dynamo.utils import counters

from tao_like.bundle import read_bundle

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler"),
]
STEPS = ["train.keep=last", "train.num_epochs=1", "train.max_steps=3"]
RUNS = {
    "plain": ["train.optim.lr=1e-3"],
    "compiled": ["train.optim.lr=1e-3", "train.compile=true"],
    "still": ["train.optim.lr=1e-12"],
}


@pytest.mark.parametrize("task", ["classification", "detection"])
def test_a_compiled_training_takes_the_same_steps(task: str, class_folders: Path, tmp_path: Path) -> None:
    if task == "classification":
        run, data = tiny_classification.run, tiny_classification.data_overrides(class_folders)
    else:
        run, data = tiny_detection.run, tiny_detection.data_overrides(write_coco(tmp_path / "scenes"))
    graphs = counters["stats"]["unique_graphs"]
    learnt = {}
    for name, words in RUNS.items():
        trained = run("train", tmp_path / name, *data, *STEPS, *words)
        weights = read_bundle(trained.bundle).weights
        learnt[name] = {name: weights[name] for name in weights if name.endswith(("weight", "bias"))}
    assert counters["stats"]["unique_graphs"] > graphs
    way = distance(learnt["still"], learnt["plain"])
    # Not in bf16, where AdamW's first steps go as far for a gradient of mere rounding as for any other.
    assert distance(learnt["compiled"], learnt["plain"]) < 0.02 * way
