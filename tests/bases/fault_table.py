"""The table of faults: what each stage makes of bad data, bad models and bad luck. A new stage gets a row."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tao_like.tasks import spec_module, task_names

BUNDLE, ONNX = ".tltb", ".onnx"


@dataclass(frozen=True)
class Row:
    """What a stage makes of faults; every stage has one.

    Attributes:
        artefact: the name of the file that it leaves.
        takes: suffixes of the model files that it takes.
        tolerates: faults of the data that do not stop it.
        reports: faults of the data that it fails for once its artefact is there.
        quick: overrides that make it quick.
    """

    artefact: str
    takes: tuple[str, ...] = ()
    tolerates: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()


DATA_FAULTS = ("corrupt sample", "empty class", "no samples", "one class", "a file for a folder")
# Detectors of one class are common, and images without objects are data like any other; where the spec or the
# palette names the classes, a split need not have all of them; captions have none.
_TOLERANT = ("detection", "instance_segmentation", "pointpillars", "segmentation", "text_to_image")
TOLERATED_BY: Mapping[str, tuple[str, ...]] = {"empty class": _TOLERANT, "one class": _TOLERANT}
"""Faults of the data, and the tasks of which they stop no stage."""
ROWS: Mapping[str, Row] = {
    # It writes what the labels say, and does not open the samples.
    "dataset_convert": Row("sources.yaml", tolerates=("corrupt sample", "empty class", "one class")),
    # Naming bad samples is its work.
    "dataset_check": Row("report.json", reports=("corrupt sample",)),
    # It looks at the shapes of boxes alone.
    "kmeans": Row(
        "spec_with_anchors.yaml",
        tolerates=("corrupt sample", "empty class", "one class"),
        quick=("model.arch=yolo_v4_tiny",),
    ),
    "train": Row("model.tltb", quick=("train.num_epochs=1",)),
    # Data without samples of some class can be scored.
    "evaluate": Row("predictions.csv", (BUNDLE, ONNX), ("empty class", "one class")),
    # It skips what it cannot read, and names it.
    "inference": Row("predictions.csv", (BUNDLE, ONNX), ("corrupt sample", "empty class", "one class")),
    "prune": Row("model.tltb", (BUNDLE,), quick=("prune.granularity=2", "prune.target_macs=0.7")),
    # It compares on noise where there is no data.
    "export": Row("model.onnx", (BUNDLE,), DATA_FAULTS),
    "quantize": Row("model_int8.onnx", (BUNDLE, ONNX), quick=("quantize.max_drop=1",)),
    "compare": Row(
        "comparison.csv", (BUNDLE, ONNX), ("empty class", "one class"), quick=("compare.rounds=2",)
    ),
}
MODEL_FAULTS = {
    "half a bundle": (BUNDLE, "half a bundle.tltb"),
    "no bundle": (BUNDLE, "no bundle.tltb"),
    "a bundle of another task": (BUNDLE, "juggling"),
    "a newer bundle": (BUNDLE, "update tao_like"),
    "half an ONNX file": (ONNX, "half an ONNX file.onnx"),
    "an ONNX file of others": (ONNX, "an ONNX file of others.onnx"),
    "an ONNX file that cannot be run": (ONNX, "an ONNX file that cannot be run.onnx"),
}
"""Suffix, and words of the error."""
ENDINGS: Mapping[str, tuple[Callable[[], Any], int, str]] = {
    "out of memory": (lambda: torch.empty(2**55), 1, "out of memory"),
    "Ctrl-C": (lambda: signal.raise_signal(signal.SIGINT), 130, "interrupted"),
    "SIGTERM": (lambda: signal.raise_signal(signal.SIGTERM), 143, "SIGTERM"),
}
"""What happens, the exit code, and words of the failure."""
FAULTS_IN_TURN = (*DATA_FAULTS, *ENDINGS, "full disk", "kill")
"""Those for which a stage works before it fails; the others take no time, and are tried with every task."""


def is_tried_with(task: str, stage: str, fault: str) -> bool:
    """Whether `make test` tries a fault of ``FAULTS_IN_TURN`` at a stage with this task; `make acceptance`
    tries it with all.

    The tasks take turns: every stage meets every fault, and every task meets every fault at some stage. Tasks
    that a fault stops and tasks that tolerate it take turns apart, so that both are seen.
    """
    widespread = len(_tasks_with(stage))
    number = [row for row in ROWS if len(_tasks_with(row)) == widespread].index(stage)
    tolerant = TOLERATED_BY.get(fault, ())
    alike = [name for name in _tasks_with(stage) if (name in tolerant) == (task in tolerant)]
    return bool(alike) and alike[(number + FAULTS_IN_TURN.index(fault)) % len(alike)] == task


@cache
def _tasks_with(stage: str) -> list[str]:
    return [name for name in task_names() if stage in spec_module(name).STAGES]


def model_words(stage: str, path: Path) -> list[str]:
    """The words that let a stage work on a model."""
    if not ROWS[stage].takes:
        return []
    return [f"compare.checkpoints=['{path}']" if stage == "compare" else f"{stage}.checkpoint={path}"]
