"""Training in two processes, as `train.num_gpus=2` on a CPU and as torchrun starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pictures import write_class_folders
from stage_runs import status_lines
from tiny_classification import TINY, data_overrides, run

from tao_like.bundle import read_bundle
from tao_like.stages.results import TrainResult

# No norm layer looks at other samples of the batch: a step of two processes is then a step of one. The
# validation data has an odd number of pictures.
SETTINGS = ("model.backbone.type=test_vit", "train.num_epochs=2", "train.optim.optim=sgd")
SIZES = {"train": 8, "val": 3, "test": 1}


def train_in_processes(starter: list[str], results: Path, overrides: list[str]) -> None:
    """Runs the command line in a process that starts others."""
    command = [
        *starter, "-m", "tao_like.cli", "classification", "train", *TINY, *SETTINGS, *overrides,
        f"results_dir={results}", "train.num_gpus=2", "dataset.batch_size=4",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("epoch 2/2") == 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name training data of an even, and validation data of an odd number of pictures."""
    return data_overrides(write_class_folders(tmp_path_factory.mktemp("data"), SIZES))


@pytest.fixture(scope="module")
def alone(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The same training in one process, with batches of twice the size."""
    return run("train", tmp_path_factory.mktemp("alone"), *data, *SETTINGS, "dataset.batch_size=8")


@pytest.mark.parametrize(
    "starter",
    [
        [sys.executable],
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"],
    ],
    ids=["num_gpus", "torchrun"],
)
def test_two_processes_train_and_score_as_one(
    starter: list[str], data: list[str], alone: TrainResult, tmp_path: Path
) -> None:
    train_in_processes(starter, tmp_path, data)
    folder = tmp_path / "train"
    lines = status_lines(folder)
    assert [line["status"] for line in lines].count("STARTED") == 1
    assert lines[-1]["status"] == "SUCCESS"
    bundle = read_bundle(folder / "model.tltb")
    for name, tensor in read_bundle(alone.bundle).weights.items():
        torch.testing.assert_close(bundle.weights[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    assert bundle.metrics == pytest.approx(alone.metrics, abs=1e-4)
    expected = [line["kpi"] for line in status_lines(alone.folder) if "epoch" in line]
    actual = [line["kpi"] for line in lines if "epoch" in line]
    assert len(actual) == 2
    for one, two in zip(expected, actual, strict=True):
        assert {k: v for k, v in two.items() if k.startswith("val_")} == pytest.approx(
            {k: v for k, v in one.items() if k.startswith("val_")}, abs=1e-4
        )
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
