"""asha and bayesian against random search on the digits, or on BCCD's cells, with as many epochs in total.

    OMP_NUM_THREADS=1 python benchmarks/automl_comparison.py --seeds 5 --output automl_comparison.csv
    OMP_NUM_THREADS=1 python benchmarks/automl_comparison.py --bccd BCCD --seeds 1 --output automl_bccd.csv

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
from dataclasses import dataclass
from pathlib import Path

import torch

import tao_like.jobs.executors
from tao_like.cli.main import main as command_line
from tao_like.jobs.executors import LocalExecutor, Submission
from tao_like.jobs.executors.shared import write_request
from tao_like.jobs.folder import EXIT_FILE, PROCESS_FILE, Exit
from tao_like.jobs.process import MARK, ProcessRecord
from tao_like.samples.catalog import write_sample

PARAMETERS = """
automl:
  parameters:
    - {parameter: train.optim.lr, valid_min: 0.00003, valid_max: LARGEST, log: true}
    - {parameter: train.optim.weight_decay, valid_min: 0.0001, valid_max: 1.0, log: true}
    - {parameter: train.optim.warmup_epochs, valid_min: 0, valid_max: 2}
"""
DIGITS = """\
model: {backbone: {type: test_resnet}}
dataset:
  img_size: 32
  batch_size: 64
  workers: 0
  train_dataset: {images_dir: DATA/train}
  val_dataset: {images_dir: DATA/val}
train: {num_epochs: EPOCHS, accelerator: cpu, tensorboard: {enabled: false}}
"""
BCCD = """\
model:
  backbone:
    type: tf_efficientnet_lite0
    pretrained_backbone_path: package:efficientnet_lite0
    freeze_norm: true
dataset:
  img_size: 192
  img_height: 160
  batch_size: 8
  workers: 0
  cache: ram
  augmentation: {plain_epochs: 1}
  train_data_sources:
    - {image_dir: DATA/JPEGImages, label_dir: DATA/Annotations, list_file: DATA/ImageSets/Main/train.txt}
  val_data_sources:
    - {image_dir: DATA/JPEGImages, label_dir: DATA/Annotations, list_file: DATA/ImageSets/Main/val.txt}
train:
  num_epochs: EPOCHS
  accelerator: cpu
  enable_ema: true
  tensorboard: {enabled: false}
"""


@dataclass(frozen=True)
class Setting:
    """A data set and the size of a search on it.

    Attributes:
        task: of the command line.
        metric: that is compared.
        spec: with DATA and EPOCHS.
        epochs: of a trial.
        trials: of a search; asha begins more with the same epochs in total.
        asha: its own settings.
        largest: of the learning rates that are tried.
    """

    task: str
    metric: str
    spec: str
    epochs: int
    trials: int
    asha: dict[str, int]
    largest: float

    @property
    def budget(self) -> int:
        """Epochs of a search."""
        return self.epochs * self.trials

    def write(self, path: Path, data: Path) -> None:
        """Writes the spec."""
        text = self.spec + PARAMETERS.replace("LARGEST", str(self.largest)).lstrip()
        path.write_text(text.replace("DATA", str(data)).replace("EPOCHS", str(self.epochs)))


# A trial of asha takes about 2 + 4 / 3 of 6 epochs.
ON_DIGITS = Setting("classification", "accuracy", DIGITS, 6, 6, {"max_trials": 11, "min_epochs": 2}, 0.3)
ON_BCCD = Setting("detection", "mAP", BCCD, 4, 5, {"max_trials": 9, "min_epochs": 1}, 0.03)
_MODULES_FILE = "AUTOML_COMPARISON_MODULES"
FIELDS = ["algorithm", "seed", "metric", "value", "epochs", "trials", "cpu_seconds"]


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


def load_all(task: str, spec: Path, folder: Path) -> None:
    """Import what a small search and its trainings load, so that copies of this process have it."""
    names = folder / "modules.txt"
    # A copy with one trial in it, whose own copy notes at its end what it has loaded; the search does so too.
    os.environ[_MODULES_FILE] = str(names)
    run(
        task,
        "automl",
        spec,
        folder / "warm",
        {"automl.max_trials": 6 if task == "classification" else 1, "train.num_epochs": 1},
    )
    del os.environ[_MODULES_FILE]
    for name in dict.fromkeys(names.read_text().split()):
        with contextlib.suppress(Exception):  # some cannot be imported by their names
            importlib.import_module(name)


def best_within(setting: Setting, rows: list[dict[str, str]]) -> tuple[float, int, int]:
    """Best value, epochs and trials, of those that fit."""
    best, used, number = 0.0, 0, 0
    for row in rows:
        used += int(row["epochs"])
        if used > setting.budget:
            return best, used - int(row["epochs"]), number
        number += 1
        if row["state"] == "complete":
            best = max(best, float(row[setting.metric]))
    return best, used, number


def search(setting: Setting, algorithm: str, seed: int, spec: Path, folder: Path) -> dict[str, object]:
    """A search in processes of its own; for `default` a training."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if algorithm == "default":
        run(setting.task, "train", spec, folder, {"train.seed": seed})
        report = json.loads((folder / "train" / "report.json").read_text(encoding="utf-8"))
        value, epochs, number = float(report["metrics"][setting.metric]), setting.epochs, 1
    else:
        settings: dict[str, object] = {"max_trials": setting.trials}
        settings |= setting.asha if algorithm == "asha" else {}
        settings |= {"algorithm": algorithm, "seed": seed}
        run(setting.task, "automl", spec, folder, {f"automl.{key}": value for key, value in settings.items()})
        with (folder / "automl" / "trials.csv").open() as file:
            value, epochs, number = best_within(setting, list(csv.DictReader(file)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return dict(
        zip(FIELDS, [algorithm, seed, setting.metric, value, epochs, number, round(seconds)], strict=True)
    )


def run(task: str, stage: str, spec: Path, folder: Path, settings: dict[str, object]) -> None:
    """A stage of the command line, in a copy of this process."""
    words = [task, stage, "-e", str(spec), *(f"{key}={value}" for key, value in settings.items())]
    log = folder.with_suffix(".txt")
    status = os.waitpid(fork([*words, f"results_dir={folder}"], {}, log), 0)[1]
    if status:
        sys.exit(log.read_text())


def main() -> None:
    """Run what is missing, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bccd", type=Path, help="the folder of BCCD: on its cells in the place of digits")
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
        setting, data = ON_BCCD, arguments.bccd
        if data is None:
            setting, data = ON_DIGITS, folder / "digits"
            write_sample("digits", data)
        spec = folder / "spec.yaml"
        setting.write(spec, data.absolute())
        load_all(setting.task, spec, folder)
        for seed in range(arguments.seeds):
            for algorithm in arguments.algorithms:
                if any(row["algorithm"] == algorithm and int(str(row["seed"])) == seed for row in rows):
                    continue
                rows.append(search(setting, algorithm, seed, spec, folder / f"{algorithm}-{seed}"))
                with arguments.output.open("w", newline="") as file:
                    writer = csv.DictWriter(file, FIELDS)
                    writer.writeheader()
                    writer.writerows(rows)
                print(rows[-1], flush=True)
    for algorithm in arguments.algorithms:
        found = [float(str(row["value"])) for row in rows if row["algorithm"] == algorithm]
        print(f"{algorithm}: median {statistics.median(found):.4f} of {len(found)} seeds, {sorted(found)}")


if __name__ == "__main__":
    main()
