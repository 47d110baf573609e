"""Trainings broken by real signals to real processes go on to the very weights of an unbroken one."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from resuming import HARD, assert_same_end, resume_from
from stage_runs import assert_failed, status_lines
from tiny_classification import TINY, data_overrides, run

from tao_like.stages.results import TrainResult

# Sends itself, and with it all processes that load images, a signal in the midst of a training step: as a
# terminal does on Ctrl-C, or a machine that runs out of memory. No test has to wait for the right moment.
BREAKING = """\
import os, signal, sys, torch
from tao_like.stages.train.loop import PhaseTraining
from tao_like.cli.main import main

torch.set_num_threads(1)  # sums over several threads are added up in another order
number, batch = int(sys.argv[1]), int(sys.argv[2])
step, seen = PhaseTraining.training_step, []

def step_and_break(self, *arguments):
    seen.append(1)
    if len(seen) == batch:
        os.killpg(os.getpgrp(), number)
    return step(self, *arguments)

PhaseTraining.training_step = step_and_break
main(["classification", "train", *sys.argv[3:]])
"""


class Broken(NamedTuple):
    """A training that a signal ended.

    Attributes:
        code: what the process gave back; errors: what it said.
    """

    results: Path
    code: int
    errors: str


CASES = {
    "Ctrl-C, workers 0": (signal.SIGINT, 9, 0),
    "Ctrl-C, workers 2": (signal.SIGINT, 7, 2),
    "SIGKILL, workers 0": (signal.SIGKILL, 10, 0),
    "SIGKILL, workers 2": (signal.SIGKILL, 11, 2),
}
"""Signal, the batch in which it comes, and the number of loading processes."""
EVERY_TIME = ("Ctrl-C, workers 2",)
MARKED = [pytest.param(name, marks=() if name in EVERY_TIME else pytest.mark.acceptance) for name in CASES]


def broken(name: str, class_folders: Path, folder: Path) -> Broken:
    """A training that is broken as ``name`` of `CASES` says."""
    number, batch, workers = CASES[name]
    words = [
        *TINY,
        *data_overrides(class_folders),
        *HARD,
        f"results_dir={folder}",
        f"dataset.workers={workers}",
    ]
    if number == signal.SIGKILL:
        words.append("train.checkpoint_interval=2")
    process = subprocess.Popen(
        [sys.executable, "-c", BREAKING, str(int(number)), str(batch), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_signals,
    )
    try:
        _, errors = process.communicate(timeout=240)
    finally:
        process.kill()
    return Broken(folder, process.returncode, errors)


def _hear_signals() -> None:
    # A test run that was started in the background hands down ignored signals.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def whole(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The training that nobody broke."""
    return run("train", tmp_path_factory.mktemp("whole"), *data_overrides(class_folders), *HARD)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes that are broken."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [one for one in MARKED if "KILL" not in str(one.values)])
def test_a_training_that_is_asked_to_end_says_how_it_goes_on_and_loses_nothing(
    name: str, whole: TrainResult, class_folders: Path, tmp_path: Path
) -> None:
    case = broken(name, class_folders, tmp_path)
    batch = CASES[name][1]
    assert (case.code, "Traceback" in case.errors) == (130, False), case.errors
    assert case.errors.count("a second one ends at once") == 1
    folder = case.results / "train"
    assert_failed(folder, "interrupted")
    assert not (folder / "model.tltb").exists()
    record = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["tao_like"]
    # Batch 9 of 6 an epoch is the third of its epoch; the step that it is in ends with the fourth.
    assert (record["epoch"], record["batch"]) == (batch // 6, batch % 6 + 1)
    override = shlex.split(status_lines(folder)[-1]["message"].partition(" add ")[2])[0]
    workers = f"dataset.workers={CASES[name][2]}"
    resumed = run("train", case.results, *data_overrides(class_folders), *HARD, workers, override)
    assert_same_end(resumed, whole)


@pytest.mark.parametrize("name", [one for one in MARKED if "KILL" in str(one.values)])
def test_a_killed_training_loses_at_most_the_steps_since_its_checkpoint(
    name: str, whole: TrainResult, class_folders: Path, tmp_path: Path
) -> None:
    case = broken(name, class_folders, tmp_path)
    assert case.code == -signal.SIGKILL
    folder = case.results / "train"
    assert status_lines(folder)[-1]["status"] == "RUNNING"
    record = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["tao_like"]
    # Killed in the fifth or sixth step; a checkpoint is due every two.
    assert (record["epoch"], record["batch"], record["step"]) == (1, 2, 4)
    resumed = run("train", case.results, *data_overrides(class_folders), *HARD, resume_from(case.results))
    lines = status_lines(folder)
    assert [line["status"] for line in lines if line["status"] != "RUNNING"] == [
        "STARTED",
        "FAILURE",
        "STARTED",
        "SUCCESS",
    ]
    assert_same_end(resumed, whole)
