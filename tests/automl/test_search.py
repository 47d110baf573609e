"""Searches over trainings whose outcome is known: an executor that computes it in place of a process."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from tao_like.automl.algorithms import open_study
from tao_like.automl.outcome import write_outcome
from tao_like.automl.search import Search
from tao_like.automl.space import Parameter
from tao_like.config import load_spec
from tao_like.contract.metrics import Goal
from tao_like.errors import SpecError, TaoLikeError
from tao_like.jobs.executors import Seen, Submission
from tao_like.jobs.folder import EXIT_FILE, Exit, JobFolder
from tao_like.tasks import spec_module
from tao_like.tracking import Run

EPOCHS = 9
RATE = Parameter("train.optim.lr", 1e-4, 1.0, log=True)
DECAY = Parameter("train.optim.weight_decay", 0.0, 1.0)


def score(rate: float, decay: float, epoch: int) -> float:
    """Accuracy: best at a rate of 0.01 and a decay of 0.3, and better with each epoch."""
    good = math.exp(-((math.log10(rate) + 2) ** 2) - 4 * (decay - 0.3) ** 2)
    return good * (1 - 0.5**epoch)


class Calculated:
    """Trainings that take a round an epoch, and no time."""

    name = "calculated"

    def __init__(self, *, dies_after: int | None = None, fails: bool = False) -> None:
        self.epochs: dict[Path, int] = {}
        self.values: dict[Path, dict[str, Any]] = {}
        self.submitted: list[Submission] = []
        self.canceled: list[Path] = []
        self.rounds, self.dies_after, self.fails = 0, dies_after, fails

    def submit(self, submission: Submission) -> None:
        self.submitted.append(submission)
        self.epochs.setdefault(submission.folder.path, 0)
        self.values[submission.folder.path] = dict(_values(submission))

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        if folder.path not in self.epochs:
            return Seen("lost")
        if (ended := folder.exit(attempt)) is not None:
            return Seen("ended", ended)
        if folder.path in self.canceled:
            return Seen("ended", Exit(attempt, -9, 0.0, 0.0))
        self.rounds += 1
        if self.dies_after is not None and self.rounds > self.dies_after:
            raise KeyboardInterrupt
        self._epoch(folder, attempt)
        ended = folder.exit(attempt)
        return Seen("running") if ended is None else Seen("ended", ended)

    def _epoch(self, folder: JobFolder, attempt: int) -> None:
        optim = self.values[folder.path]
        self.epochs[folder.path] += 1
        epoch = self.epochs[folder.path]
        value = score(optim["lr"], optim["weight_decay"], epoch)
        if self.fails:
            folder.log.write_text("error: there is no such data\n")
            folder.write(EXIT_FILE, vars(Exit(attempt, 2, 0.0, 0.0)))
            return
        with folder.events.open("a") as file:
            print(json.dumps({"event": "metric", "values": {"train/loss": 1.0}, "step": epoch}), file=file)
            line = {"event": "metric", "values": {"val_accuracy": value}, "step": epoch, "epoch": epoch}
            print(json.dumps(line), file=file)
        if epoch == EPOCHS:
            train = folder.results / "train"
            train.mkdir(parents=True, exist_ok=True)
            (train / "report.json").write_text(json.dumps({"metrics": {"accuracy": value}}))
            (train / "model.tltb").write_text(folder.path.name)
            (train / "spec.yaml").write_text(folder.spec.read_text())
            folder.write(EXIT_FILE, vars(Exit(attempt, 0, 0.0, 0.0)))

    def logs(self, folder: JobFolder, offset: int = 0, limit: int = 1 << 20) -> bytes:
        return b""

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        self.canceled.append(folder.path)

    def files(self, folder: JobFolder) -> list[Path]:
        return []


def search(
    folder: Path, executor: Calculated, *, options: Sequence[str] = (), **block: Any
) -> tuple[Search, dict[str, Any]]:
    """A search, and what it left."""
    settings = {"algorithm": "random", "max_trials": 12, **block}
    spec = load_spec(
        spec_module("classification").Spec, {"train": {"num_epochs": EPOCHS}, "automl": settings}
    ).spec
    parameters = [RATE, DECAY]
    goal = Goal("accuracy")
    console = Console(file=io.StringIO())
    with Run(folder, task="classification", stage="automl", spec_yaml="", console=console) as run:
        study = open_study(folder, spec.automl, parameters, EPOCHS, maximize=True)
        work = Search(study, spec, "classification", parameters, goal, run, executor, folder, options)
        work.carry_out()
        return work, write_outcome(work)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tao_like.automl.search._PAUSE_SECONDS", 0.0)


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


@pytest.mark.parametrize("algorithm", ["bayesian", "bfbo", "random", "grid", "asha", "hyperband", "bohb"])
def test_what_a_search_leaves(algorithm: str, tmp_path: Path) -> None:
    concurrent = 1 if algorithm == "bayesian" else 3
    _, report = search(tmp_path, Calculated(), algorithm=algorithm, max_concurrent=concurrent)
    number = 9 if algorithm == "grid" else 12
    found = rows(tmp_path)
    assert len(found) == sum(report["trials"].values()) == number
    complete = [row for row in found if row["state"] == "complete"]
    best = max(complete, key=lambda row: float(row["accuracy"]))
    assert report["best"]["trial"] == int(best["trial"])
    assert report["best"]["value"] == pytest.approx(
        score(float(best["train.optim.lr"]), float(best["train.optim.weight_decay"]), EPOCHS)
    )
    assert (tmp_path / "model.tltb").read_text() == f"{int(best['trial']):04d}"
    optim = yaml.safe_load((tmp_path / "best_spec.yaml").read_text())["train"]["optim"]
    assert optim["lr"] == report["best"]["parameters"]["train.optim.lr"]
    assert (tmp_path / "history.png").stat().st_size > 1000
    assert report["split"] == "val"
    assert all(row["epochs"] == str(EPOCHS) for row in complete)


@pytest.mark.parametrize("algorithm", ["asha", "hyperband", "bohb"])
def test_weak_trials_end_early_and_strong_ones_do_not(algorithm: str, tmp_path: Path) -> None:
    executor = Calculated()
    _, report = search(tmp_path, executor, algorithm=algorithm, max_trials=24, max_concurrent=4)
    pruned = [row for row in rows(tmp_path) if row["state"] == "pruned"]
    assert len(pruned) == len(executor.canceled) >= 8
    assert all(int(row["epochs"]) < EPOCHS for row in pruned)
    assert report["epochs"] == sum(int(row["epochs"]) for row in rows(tmp_path)) < 24 * EPOCHS * 0.75
    assert report["best"]["value"] > 0.5


def test_hyperband_es_ends_what_is_below_the_threshold(tmp_path: Path) -> None:
    search(
        tmp_path, Calculated(), algorithm="hyperband_es", early_stop_threshold=0.3, min_early_stop_epochs=2
    )
    for row in rows(tmp_path):
        rate, decay = float(row["train.optim.lr"]), float(row["train.optim.weight_decay"])
        if score(rate, decay, 2) < 0.3:
            assert (row["state"], int(row["epochs"]) <= 2) == ("pruned", True)


@pytest.mark.acceptance
def test_bayesian_finds_better_values_than_chance(tmp_path: Path) -> None:
    """In the median of three seeds, with as many trials."""
    best: dict[str, list[float]] = {"bayesian": [], "random": []}
    for algorithm, values in best.items():
        for seed in range(3):
            _, report = search(tmp_path / f"{algorithm}{seed}", Calculated(), algorithm=algorithm, seed=seed)
            values.append(report["best"]["value"])
    assert sorted(best["bayesian"])[1] > sorted(best["random"])[1]


def test_each_training_gets_the_options_of_the_command_line(tmp_path: Path) -> None:
    executor = Calculated()
    search(tmp_path, executor, max_trials=2, options=("--module", "/my_ops.py"))
    assert [list(work.command[-2:]) for work in executor.submitted] == [["--module", "/my_ops.py"]] * 2


def test_importance_is_found(tmp_path: Path) -> None:
    _, report = search(tmp_path, Calculated(), max_trials=20)
    assert sum(report["importance"].values()) == pytest.approx(1)
    assert set(report["importance"]) == {RATE.key, DECAY.key}
    assert (tmp_path / "importance.png").is_file()


def test_a_search_that_is_broken_off_goes_on(tmp_path: Path) -> None:
    first = Calculated(dies_after=50)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, first, max_concurrent=2)
    begun = {work.folder.path.name: dict(_values(work)) for work in first.submitted}
    assert len(first.canceled) == 2  # nobody is left at work
    second = Calculated()
    _, report = search(tmp_path, second, max_concurrent=2)
    assert report["trials"]["complete"] == 12
    again = {work.folder.path.name: work for work in second.submitted}
    # The two that were broken off go on with their own values, as their second attempt; the others are new.
    both = set(begun) & set(again)
    assert len(both) == 2
    for name in both:
        assert again[name].attempt == 2
        assert dict(_values(again[name])) == begun[name]
    assert len(set(begun) | set(again)) == 12
    assert len({row["train.optim.lr"] for row in rows(tmp_path)}) == 12
    with pytest.raises(SpecError, match="search that was broken off"):
        search(tmp_path, Calculated(), algorithm="bohb")


def _values(work: Submission) -> list[tuple[str, Any]]:
    optim = yaml.safe_load(work.folder.spec.read_text())["train"]["optim"]
    return [(name, optim[name]) for name in ("lr", "weight_decay")]


def test_a_search_whose_trials_all_fail_ends_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        TaoLikeError, match="first 3 trials have failed, the last one so: there is no such data"
    ):
        search(tmp_path, Calculated(fails=True))


def test_a_real_training(class_folders: Path, tmp_path: Path) -> None:
    from tiny_classification import TINY, data_overrides

    from tao_like.automl.run import run_automl

    overrides = [*TINY, *data_overrides(class_folders), f"results_dir={tmp_path}", "train.num_epochs=1"]
    result = run_automl(
        "classification",
        {"automl": {"max_trials": 1, "parameters": [{"parameter": "train.optim.lr", "max": 0.05}]}},
        overrides,
        console=Console(file=io.StringIO()),
    )
    assert result.report["trials"]["complete"] == 1
    assert 0 <= result.report["metrics"]["accuracy"] <= 1
    trained = json.loads((result.folder / "trials/0000/results/train/report.json").read_text())
    assert result.report["best"]["value"] == trained["metrics"]["accuracy"]
    from tao_like.bundle import read_bundle

    lr = result.report["best"]["parameters"]["train.optim.lr"]
    assert read_bundle(result.folder / "model.tltb").spec["train"]["optim"]["lr"] == lr
