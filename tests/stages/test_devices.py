"""Which devices a spec asks for, which it gets, and what is said where these are not the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pretended_device import DEVICE, pretended_device, send
from tiny_classification import tiny_spec

from tao_like.errors import SpecError
from tao_like.stages.lib.devices import pick_device
from tao_like.stages.train.setup.devices import Devices, choose_devices, end_processes
from tao_like.tracking import Run


class Shift(torch.nn.Linear):
    """A layer with a tensor that no move takes along."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) + torch.ones(2)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets torch see this many GPUs."""

    def set_count(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return set_count


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that writes its log."""
    return Run(tmp_path, task="classification", stage="evaluate", spec_yaml="")


def log(run: Run) -> str:
    """What the run has been told."""
    path = run.folder / "log.txt"
    return path.read_text() if path.exists() else ""


def choose(*overrides: str) -> Devices:
    """The devices of a training with these overrides."""
    return choose_devices(tiny_spec("train.accelerator=auto", *overrides).train)


def test_scoring_takes_the_gpu_that_is_asked_for(gpus: Callable[[int], None], run: Run) -> None:
    gpus(4)
    assert pick_device([2], "evaluate.gpu_ids", run) == torch.device("cuda", 2)
    assert pick_device([], "evaluate.gpu_ids", run) == torch.device("cuda", 0)
    assert not log(run)
    assert pick_device([3, 1], "evaluate.gpu_ids", run) == torch.device("cuda", 3)
    assert "evaluate.gpu_ids=[3, 1]: this stage computes on one device" in log(run)


def test_scoring_says_where_the_cpu_takes_the_place_of_a_gpu(gpus: Callable[[int], None], run: Run) -> None:
    gpus(0)
    assert pick_device([], "evaluate.gpu_ids", run).type == "cpu"
    assert not log(run)
    assert pick_device([0], "evaluate.gpu_ids", run).type == "cpu"
    assert "evaluate.gpu_ids=[0]: torch sees no GPU on this machine, so the CPU computes" in log(run)


def test_a_gpu_that_is_not_there_is_an_error(gpus: Callable[[int], None], run: Run) -> None:
    gpus(2)
    with pytest.raises(SpecError, match=r"evaluate\.gpu_ids=\[2\]: this machine has 2 GPUs"):
        pick_device([2], "evaluate.gpu_ids", run)
    with pytest.raises(SpecError, match=r"train\.gpu_ids=\[0, 2\]: this machine has 2 GPUs"):
        choose("train.gpu_ids=[0,2]")
    with pytest.raises(SpecError, match=r"train\.num_gpus=8: this machine has 2; ask for 2.*2/8"):
        choose("train.num_gpus=8")


def test_training_takes_the_gpus_that_are_asked_for(gpus: Callable[[int], None]) -> None:
    gpus(4)
    assert choose("train.num_gpus=2") == Devices("gpu", 2)
    assert choose("train.gpu_ids=[3,1]") == Devices("gpu", [3, 1])
    assert choose("train.accelerator=cpu", "train.num_gpus=2") == Devices("cpu", 2)


def test_training_says_where_the_cpu_takes_the_place_of_gpus(gpus: Callable[[int], None]) -> None:
    gpus(0)
    assert choose() == Devices("cpu", 1)
    chosen = choose("train.gpu_ids=[0,1]", "train.num_gpus=2")
    assert (chosen.accelerator, chosen.count) == ("cpu", 2)
    assert [text.partition(":")[0] for text in chosen.warnings] == [
        "train.gpu_ids=[0, 1]",
        "train.num_gpus=2",
    ]
    assert not choose("train.accelerator=cpu", "train.num_gpus=2").warnings


def test_two_numbers_of_gpus_that_disagree_are_an_error() -> None:
    with pytest.raises(SpecError, match=r"train\.num_gpus: 4 is not the number of gpu_ids=\[0, 1\]"):
        tiny_spec("train.num_gpus=4", "train.gpu_ids=[0,1]")
    with pytest.raises(SpecError, match=r"train\.seed: -1 gives every process another seed"):
        tiny_spec("train.seed=-1", "train.gpu_ids=[0,1]")


@pytest.mark.parametrize(
    ("started", "overrides", "words"),
    [
        ((4, 4), (), r"make 1 processes, and torchrun has started 4.*train\.num_gpus=4 train\.num_nodes=1"),
        ((2, 1), ("train.num_gpus=2",), r"torchrun has started 2, 1 of them.*num_gpus=1 train\.num_nodes=2"),
        ((2, 2), ("train.num_gpus=2", "train.num_nodes=2"), r"make 4 processes, and torchrun has started 2"),
    ],
)
def test_processes_of_torchrun_that_nobody_asked_for_are_an_error(
    started: tuple[int, int], overrides: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", str(started[0]))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(started[1]))
    with pytest.raises(SpecError, match=words):
        choose("train.accelerator=cpu", *overrides)


def test_machines_that_nobody_has_started_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"train\.num_nodes=2: nobody has started.*torchrun --nnodes"):
        choose("train.num_nodes=2")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(SpecError, match=r"srun has started 4 tasks.*one torchrun on each machine"):
        choose("train.num_gpus=4")


def test_what_is_left_on_the_cpu_is_found_without_a_gpu() -> None:
    """The judge of the tests in base_devices."""
    layer, shift = send(torch.nn.Linear(3, 2)), send(Shift(3, 2))
    inputs = torch.zeros(4, 3)
    with pretended_device():
        assert layer(inputs.to(DEVICE)).device == DEVICE
        with pytest.raises(AssertionError, match=r"shapes \[\(4, 3\)\] are left on the CPU"):
            layer(inputs)
        with pytest.raises(AssertionError, match=r"shapes \[\(2,\)\] are left on the CPU"):
            shift(inputs.to(DEVICE))


def test_processes_that_wait_for_a_failed_one_are_ended() -> None:
    waiting, done = (
        subprocess.Popen([sys.executable, "-c", code]) for code in ("import time; time.sleep(60)", "")
    )
    fabric = SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=[done, waiting])))
    end_processes(fabric, patience=2.0)  # type: ignore[arg-type]
    assert waiting.wait(10) == -signal.SIGKILL
    assert done.wait(10) == 0
    end_processes(SimpleNamespace(strategy=SimpleNamespace(launcher=None)))  # type: ignore[arg-type]
