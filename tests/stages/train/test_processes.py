"""Training in two processes, as `train.num_gpus=2` on a CPU and as torchrun starts it: one machine, two."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sample_images import write_class_folders
from stage_runs import status_lines
from tiny_classification import TINY, data_overrides, run

from tao_like.bundle import read_bundle
from tao_like.stages.results import TrainResult

# No norm layer looks at other samples of the batch: a step of two processes is then a step of one. The
# validation data has an odd number of images.
SETTINGS = ("model.backbone.type=test_vit", "train.num_epochs=2", "train.optim.optim=sgd")
SIZES = {"train": 8, "val": 3, "test": 1}


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]


def start(starter: list[str], results: Path, overrides: list[str]) -> subprocess.Popen[str]:
    """The command line in a process that starts others."""
    command = [
        *starter, "-m", "tao_like.cli", "classification", "train", *TINY, *SETTINGS, *overrides,
        f"results_dir={results}", "dataset.batch_size=4",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name training data of an even, and validation data of an odd number of images."""
    return data_overrides(write_class_folders(tmp_path_factory.mktemp("data"), SIZES))


@pytest.fixture(scope="module")
def alone(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The same training in one process, with batches of twice the size."""
    return run("train", tmp_path_factory.mktemp("alone"), *data, *SETTINGS, "dataset.batch_size=8")


def assert_trained_as_one(results: Path, alone: TrainResult) -> None:
    """Two processes have left what the one process of ``alone`` has left."""
    folder = results / "train"
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
    assert [path.name for path in results.iterdir()] == ["train"]


@pytest.mark.parametrize(
    "starter",
    [
        pytest.param([sys.executable], id="num_gpus"),
        pytest.param([*TORCHRUN, "2", "--standalone"], id="torchrun", marks=pytest.mark.acceptance),
    ],
)
def test_two_processes_train_and_score_as_one(
    starter: list[str], data: list[str], alone: TrainResult, tmp_path: Path
) -> None:
    started = start(starter, tmp_path, [*data, "train.num_gpus=2"])
    output, errors = started.communicate(timeout=240)
    assert started.returncode == 0, errors[-3000:]
    assert output.count("epoch 2/2") == 1
    assert_trained_as_one(tmp_path, alone)


@pytest.mark.acceptance
def test_two_machines_train_and_score_as_one(data: list[str], alone: TrainResult, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    meeting = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
    overrides = [*data, "train.num_nodes=2"]
    machines = [start([*TORCHRUN, "1", *meeting], tmp_path, overrides) for _ in range(2)]
    said = [machine.communicate(timeout=240) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    # Which machine is the first is for the meeting to say; the first alone talks and writes.
    assert sum(output.count("epoch 2/2") for output, _ in said) == 1
    assert_trained_as_one(tmp_path, alone)
