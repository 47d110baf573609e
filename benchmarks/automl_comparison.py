"""asha and bayesian against random search on the digits, with as many epochs in total.

    OMP_NUM_THREADS=1 python benchmarks/automl_comparison.py --seeds 5 --output automl_comparison.csv

A row a search: the best validation accuracy among the trials that came to their end before the epochs of all
trials, in their order, were used up; also the epochs, and CPU seconds of all processes. `default` is one
training of the spec as it stands, with its own seed. Finished rows are not run again. The last lines give the
median of each algorithm.

Of a small training's time much goes into starting Python and torch. So searches and trials are copies of one
process that has loaded them (fork), and run the same commands.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

import tao_like.jobs.executors
from tao_like.cli.main import main as command_line
from tao_like.jobs.executors import LocalExecutor, Submission
from tao_like.jobs.executors.shared import write_request
from tao_like.jobs.folder import EXIT_FILE, PROCESS_FILE, Exit
from tao_like.jobs.process import MARK, ProcessRecord
from tao_like.samples.catalog import write_sample

EPOCHS, TRIALS = 6, 6
BUDGET = EPOCHS * TRIALS
# Asha begins more trials with the same epochs: one takes about 2 + 4 / 3 of them.
ASHA = {"max_trials": 11, "min_epochs": 2}
SPEC = """\
model: {backbone: {type: test_resnet}}
dataset:
  img_size: 32
  batch_size: 64
  workers: 0
  train_dataset: {images_dir: DIGITS/train}
  val_dataset: {images_dir: DIGITS/val}
train: {num_epochs: EPOCHS, accelerator: cpu, tensorboard: {enabled: false}}
automl:
  parameters:
    - {parameter: train.optim.lr, valid_min: 0.00003, valid_max: 0.3, log: true}
    - {parameter: train.optim.weight_decay, valid_min: 0.0001, valid_max: 1.0, log: true}
    - {parameter: train.optim.warmup_epochs, valid_min: 0, valid_max: 2}
"""
_MODULES_FILE = "AUTOML_COMPARISON_MODULES"
FIELDS = ["algorithm", "seed", "accuracy", "epochs", "trials", "cpu_seconds"]


class Forking(LocalExecutor):
    """Jobs as copies of this process."""

    def __init__(self) -> None:
        super().__init__()
        self._copies: list[int] = []

    def submit(self, submission: Submission) -> None:
        """Start an attempt; its folder holds what a supervisor would have written."""
        write_request(submission, submission.command)
        if pid := os.fork():
            self._copies.append(pid)
            return
        folder, attempt, began = submission.folder, submission.attempt, time.time()
        os.setsid()
        child = fork(list(submission.command)[3:], submission.environment, folder.log, folder.mark(attempt))
        record = {"supervisor": ProcessRecord.of(os.getpid()), "child": ProcessRecord.of(child)}
        processes = {name: one.plain() for name, one in record.items()}
        folder.write(PROCESS_FILE, {"attempt": attempt, "began": began, **processes})
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        folder.write(EXIT_FILE, vars(Exit(attempt, code, began, time.time())))
        os._exit(0)

    def _reap(self) -> None:
        self._copies = [pid for pid in self._copies if os.waitpid(pid, os.WNOHANG)[0] == 0]


def fork(words: Sequence[str], environment: Mapping[str, str], log: Path, mark: str = "") -> int:
    """Run the command line in a copy of this process, in a session of its own; gives its number."""
    if pid := os.fork():
        return pid
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment, **({MARK: mark} if mark else {}))
    sys.argv = ["tao-like", *words]
    code = 1
    try:
        command_line()
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        if names := os.environ.get(_MODULES_FILE):
            with Path(names).open("a") as out:
                out.write("\n".join(list(sys.modules)) + "\n")
        sys.stdout.flush()
        os._exit(code)


def load_all(spec: Path, folder: Path) -> None:
    """Import what a small search and its trainings load, so that copies of this process have it."""
    names = folder / "modules.txt"
    # A copy with one trial in it, whose own copy notes at its end what it has loaded; the search does so too.
    os.environ[_MODULES_FILE] = str(names)
    run("automl", spec, folder / "warm", {"automl.max_trials": 6, "train.num_epochs": 1})
    del os.environ[_MODULES_FILE]
    for name in dict.fromkeys(names.read_text().split()):
        with contextlib.suppress(Exception):  # some cannot be imported by their names
            importlib.import_module(name)


def best_within(rows: list[dict[str, str]]) -> tuple[float, int, int]:
    """Best accuracy, epochs and trials, of those that fit."""
    best, used, number = 0.0, 0, 0
    for row in rows:
        used += int(row["epochs"])
        if used > BUDGET:
            return best, used - int(row["epochs"]), number
        number += 1
        if row["state"] == "complete":
            best = max(best, float(row["accuracy"]))
    return best, used, number


def search(algorithm: str, seed: int, spec: Path, folder: Path) -> dict[str, object]:
    """A search in processes of its own; for `default` a training."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if algorithm == "default":
        run("train", spec, folder, {"train.seed": seed})
        report = json.loads((folder / "train" / "report.json").read_text(encoding="utf-8"))
        accuracy, epochs, number = float(report["metrics"]["accuracy"]), EPOCHS, 1
    else:
        settings: dict[str, object] = {"max_trials": TRIALS, **(ASHA if algorithm == "asha" else {})}
        settings |= {"algorithm": algorithm, "seed": seed}
        run("automl", spec, folder, {f"automl.{key}": value for key, value in settings.items()})
        with (folder / "automl" / "trials.csv").open() as file:
            accuracy, epochs, number = best_within(list(csv.DictReader(file)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return dict(zip(FIELDS, [algorithm, seed, accuracy, epochs, number, round(seconds)], strict=True))


def run(stage: str, spec: Path, folder: Path, settings: dict[str, object]) -> None:
    """A stage of the command line, in a copy of this process."""
    words = ["classification", stage, "-e", str(spec), *(f"{key}={value}" for key, value in settings.items())]
    log = folder.with_suffix(".txt")
    status = os.waitpid(fork([*words, f"results_dir={folder}"], {}, log), 0)[1]
    if status:
        sys.exit(log.read_text())


def main() -> None:
    """Run what is missing, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--algorithms", nargs="+", default=["default", "random", "bayesian", "asha"])
    parser.add_argument("--output", type=Path, default=Path("automl_comparison.csv"))
    arguments = parser.parse_args()
    assert torch.get_num_threads() == 1, "set OMP_NUM_THREADS=1: threads do not live through a fork"
    setattr(tao_like.jobs.executors, "executor_of", lambda _execution: Forking())  # noqa: B010
    rows: list[dict[str, object]] = []
    if arguments.output.is_file():
        with arguments.output.open() as file:
            rows = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample("digits", folder / "digits")
        spec = folder / "spec.yaml"
        spec.write_text(SPEC.replace("DIGITS", str(folder / "digits")).replace("EPOCHS", str(EPOCHS)))
        load_all(spec, folder)
        for seed in range(arguments.seeds):
            for algorithm in arguments.algorithms:
                if any(row["algorithm"] == algorithm and int(str(row["seed"])) == seed for row in rows):
                    continue
                rows.append(search(algorithm, seed, spec, folder / f"{algorithm}-{seed}"))
                with arguments.output.open("w", newline="") as file:
                    writer = csv.DictWriter(file, FIELDS)
                    writer.writeheader()
                    writer.writerows(rows)
                print(rows[-1], flush=True)
    for algorithm in arguments.algorithms:
        found = [float(str(row["accuracy"])) for row in rows if row["algorithm"] == algorithm]
        print(f"{algorithm}: median {statistics.median(found):.4f} of {len(found)} seeds, {sorted(found)}")


if __name__ == "__main__":
    main()
