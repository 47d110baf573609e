"""The command line's own trainings, placed by engines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import real_engines
from stage_runs import status_lines
from tiny_classification import UNCHANGED, data_overrides

from tao_like.bundle import read_bundle

pytestmark = pytest.mark.acceptance

# Of a step of two times 6 samples and one of 12 the gradients are the same where no sample sees another.
SMALL = [
    "model.backbone.type=test_resnet",
    "model.backbone.freeze_norm=true",
    "dataset.img_size=32",
    "dataset.workers=0",
    *UNCHANGED,
    "train.accelerator=cpu",
    "train.num_epochs=3",
    "train.optim.optim=sgd",
    "train.optim.lr=0.02",
    "train.tensorboard.enabled=false",
    "train.keep=last",
]


def command(results: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "tao_like.cli", "classification", "train", f"results_dir={results}", *words]


def losses(folder: Path) -> list[float]:
    return [line["kpi"]["train_loss"] for line in status_lines(folder) if "epoch" in line]


def test_two_tasks_of_slurm_train_to_what_one_process_does(class_folders: Path, tmp_path: Path) -> None:
    words = [*SMALL, *data_overrides(class_folders)]
    with real_engines.slurm(tmp_path):
        done = subprocess.run(
            command(
                tmp_path / "two",
                *words,
                "dataset.batch_size=6",
                "train.num_nodes=2",
                "--executor",
                "slurm",
            ),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 3/3" in done.stdout
    (job,) = (tmp_path / "two" / "jobs").iterdir()
    assert json.loads((job / "engine.json").read_text())["engine"] == "slurm"
    request = json.loads((job / "request.json").read_text())["command"]
    assert request[0] == "srun"
    assert "--nnodes=2" in request[-1]
    subprocess.run(
        command(tmp_path / "one", *words, "dataset.batch_size=12"), cwd=tmp_path, check=True, timeout=300
    )
    two, one = tmp_path / "two" / "train", tmp_path / "one" / "train"
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    bundles = [read_bundle(folder / "model.tltb") for folder in (two, one)]
    assert bundles[0].metrics == pytest.approx(bundles[1].metrics, abs=1e-3)
