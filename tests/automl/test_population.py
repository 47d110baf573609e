"""pbt over trainings whose weights are one number: it grows by what the rate of the epoch is worth."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from tao_like.automl.algorithms import open_study
from tao_like.automl.outcome import write_outcome
from tao_like.automl.population import check_parameters
from tao_like.automl.search import Search
from tao_like.automl.space import Parameter
from tao_like.config import load_spec
from tao_like.contract.metrics import Goal
from tao_like.errors import SpecError
from tao_like.jobs.executors import Seen, Submission
from tao_like.jobs.folder import EXIT_FILE, Exit, JobFolder
from tao_like.tasks import spec_module
from tao_like.tracking import Run

EPOCHS, SIZE = 10, 5
RATE = Parameter("train.optim.lr", 1e-4, 1.0, log=True)


def worth(rate: float, epoch: int) -> float:
    """The best rate falls from 0.1 to 0.001, so no fixed one is best."""
    best = -1 - 2 * (epoch - 1) / (EPOCHS - 1)
    return math.exp(-2 * (math.log10(rate) - best) ** 2) / EPOCHS


class Growing:
    """Trains a whole round when it is submitted, from the checkpoint that the spec names."""

    name = "growing"

    def __init__(self, *, dies_after: int | None = None) -> None:
        self.specs: dict[str, dict[str, Any]] = {}
        self.dies_after = dies_after

    def submit(self, submission: Submission) -> None:
        if self.dies_after is not None and len(self.specs) >= self.dies_after:
            raise KeyboardInterrupt
        folder = submission.folder
        train = yaml.safe_load(folder.spec.read_text())["train"]
        self.specs[folder.path.name] = train
        weights, epoch = 0.0, 0
        if train["resume_training_checkpoint_path"]:
            weights, epoch = json.loads(Path(train["resume_training_checkpoint_path"]).read_text())
        with folder.events.open("a") as file:
            while epoch < min(train["num_epochs"], train["stop_epoch"]):
                epoch += 1
                weights += worth(train["optim"]["lr"], epoch)
                line = {"event": "metric", "values": {"val_accuracy": weights}, "step": epoch, "epoch": epoch}
                print(json.dumps(line), file=file)
        results = folder.results / "train"
        (results / "checkpoints").mkdir(parents=True)
        (results / "checkpoints" / "last.ckpt").write_text(json.dumps([weights, epoch]))
        (results / "report.json").write_text(json.dumps({"metrics": {"accuracy": weights}}))
        for name in ("model.tltb", "spec.yaml"):
            (results / name).write_text(folder.path.name)
        folder.write(EXIT_FILE, vars(Exit(submission.attempt, 0, 0.0, 0.0)))

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        ended = folder.exit(attempt)
        return Seen("ended", ended) if ended else Seen("lost")

    def logs(self, folder: JobFolder, offset: int = 0, limit: int = 1 << 20) -> bytes:
        return b""

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        return

    def files(self, folder: JobFolder) -> list[Path]:
        return []


def search(folder: Path, executor: Growing, seed: int = 1, *, reports: bool = True) -> dict[str, Any]:
    block = {"algorithm": "pbt", "population_size": SIZE, "eval_interval": 2, "perturbation_factor": 2.0}
    settings = {"train": {"num_epochs": EPOCHS}, "automl": {**block, "seed": seed, "max_concurrent": 2}}
    spec = load_spec(spec_module("classification").Spec, settings).spec
    console = Console(file=io.StringIO())
    with Run(folder, task="classification", stage="automl", spec_yaml="", console=console) as run:
        study = open_study(folder, spec.automl, [RATE], EPOCHS, maximize=True)
        work = Search(study, spec, "classification", [RATE], Goal("accuracy"), run, executor, folder)
        work.carry_out()
        return write_outcome(work) if reports else {"best": {"value": study.best_value}}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tao_like.automl.search._PAUSE_SECONDS", 0.0)


def test_the_weakest_goes_on_from_the_strongest_with_another_number(tmp_path: Path) -> None:
    executor = Growing()
    report = search(tmp_path, executor)
    assert sorted(executor.specs) == [f"{number:04d}" for number in range(SIZE * 5)]
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    values = [float(row["accuracy"]) for row in rows]
    for start in range(SIZE, SIZE * 5, SIZE):
        before = range(start - SIZE, start)
        strongest, weakest = max(before, key=values.__getitem__), min(before, key=values.__getitem__)
        for member, former in enumerate(before):
            train = executor.specs[f"{start + member:04d}"]
            source = strongest if former == weakest else former
            assert f"/{source:04d}/" in train["resume_training_checkpoint_path"]
            assert train["stop_epoch"] == (start // SIZE + 1) * 2
            assert train["changes_on_resume"] == ["train.optim.lr"]
            factor = train["optim"]["lr"] / executor.specs[f"{source:04d}"]["optim"]["lr"]
            wanted = (2.0, 0.5) if former == weakest else (1.0,)
            at_an_end = train["optim"]["lr"] in (RATE.low, RATE.high)
            assert at_an_end or any(factor == pytest.approx(one) for one in wanted)
    assert report["best"]["value"] == max(values)


@pytest.mark.acceptance
def test_a_population_finds_what_no_fixed_rate_reaches(tmp_path: Path) -> None:
    """In the median of five seeds, against the best of as many fixed rates."""
    found, fixed = [], []
    for seed in range(5):
        executor = Growing()
        found.append(search(tmp_path / str(seed), executor, seed, reports=False)["best"]["value"])
        first = [executor.specs[f"{member:04d}"]["optim"]["lr"] for member in range(SIZE)]
        fixed.append(max(sum(worth(rate, epoch + 1) for epoch in range(EPOCHS)) for rate in first))
    assert sorted(found)[2] > sorted(fixed)[2]


def test_a_search_that_is_broken_off_goes_on_as_it_would_have(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", Growing())
    first = Growing(dies_after=8)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "broken", first)
    second = Growing()
    report = search(tmp_path / "broken", second)
    assert len(set(first.specs) | set(second.specs)) == SIZE * 5
    assert report["best"] == whole["best"]


@pytest.mark.parametrize(
    "parameter",
    [
        Parameter("train.optim.optim", choices=("sgd", "adamw")),
        Parameter("model.backbone.drop_rate", 0.0, 0.5),
    ],
)
def test_what_a_training_cannot_change_is_refused(parameter: Parameter) -> None:
    with pytest.raises(SpecError, match=f"pbt changes them within a training.*{parameter.key}"):
        check_parameters([RATE, parameter])
