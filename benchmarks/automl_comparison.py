"""asha and bayesian against random search on the digits, with as many epochs in total, over several seeds.

    python benchmarks/automl_comparison.py --seeds 5 --output automl_comparison.csv

A row a search: the best validation accuracy among the trials that came to their end before the epochs of all
trials, in their order, were used up; also the epochs, and CPU seconds of all processes. Finished rows are not
run again. The last lines give the median of each algorithm.
"""

from __future__ import annotations

import argparse
import csv
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tao_like.samples.catalog import write_sample

EPOCHS, TRIALS = 4, 9
BUDGET = EPOCHS * TRIALS
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
FIELDS = ["algorithm", "seed", "accuracy", "epochs", "trials", "cpu_seconds"]


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
    """A search in processes of its own."""
    # asha begins more trials with the same epochs, as most of them end early.
    trials = TRIALS if algorithm != "asha" else 3 * TRIALS
    words = [f"automl.algorithm={algorithm}", f"automl.seed={seed}", f"automl.max_trials={trials}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-m", "tao_like.cli", "classification", "automl", "-e", str(spec), *words]
    subprocess.run([*command, f"results_dir={folder}"], check=True, stdout=subprocess.DEVNULL)
    with (folder / "automl" / "trials.csv").open() as file:
        accuracy, epochs, number = best_within(list(csv.DictReader(file)))
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return dict(zip(FIELDS, [algorithm, seed, accuracy, epochs, number, round(seconds)], strict=True))


def main() -> None:
    """Run what is missing, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--algorithms", nargs="+", default=["random", "bayesian", "asha"])
    parser.add_argument("--output", type=Path, default=Path("automl_comparison.csv"))
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    if arguments.output.is_file():
        with arguments.output.open() as file:
            rows = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample("digits", folder / "digits")
        spec = folder / "spec.yaml"
        spec.write_text(SPEC.replace("DIGITS", str(folder / "digits")).replace("EPOCHS", str(EPOCHS)))
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
