"""The recipe that ``init`` writes for skeletons, beside two classifiers without a network, on UTKinect.

    python benchmarks/pose_init.py UTKINECT                     # baselines, and three seeds, on test people
    python benchmarks/pose_init.py UTKINECT --choose key=value # three training people train, two test

UTKINECT holds the joint files and actionLabel.txt of UTKinect-Action3D; s01 to s05 train, s06 to s10 test
(cross-subject). The baselines are scikit-learn's nearest neighbour and logistic regression on joints relative
to the hip center, of 16 frames that are spread evenly over each clip; the regression's input is standardized.
``processor_seconds`` is the time of all threads of the training, which other programs on the machine change
little; ``seconds`` is the clock's. A row is written as soon as it is known.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pose_utkinect import FOLDS, fold
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tao_like
from tao_like.tasks.pose_classification.init import write_spec

TASK = "pose_classification"
HEADER = ["people", "what", "seed", "accuracy", "seconds", "processor_seconds", "overrides"]
FRAMES = 16
HIP_CENTER = 0
Paths = tuple[Path, Path]
Row = list[str | int]
Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def converted(data: Path, folder: Path) -> Path:
    """The folder with arrays and labels of both splits."""
    words = [f"dataset_convert.data={data}", "dataset_convert.format=utkinect"]
    words += ["dataset_convert.split=cross-subject", "dataset_convert.on_error=skip", f"results_dir={folder}"]
    return tao_like.run(TASK, "dataset_convert", None, words, quiet=True).folder


def features(data: Path, labels: Path) -> Arrays:
    """A row a clip: joints relative to the hip center, 16 frames of the first person."""
    rows = []
    for clip in np.load(data):
        shown = np.flatnonzero(clip.any(axis=(0, 2, 3)))
        frames = np.linspace(0, len(shown) - 1, FRAMES).round().astype(int)
        joints = clip[:, shown[frames], :, 0]
        rows.append((joints - joints[:, :, HIP_CENTER : HIP_CENTER + 1]).ravel())
    return np.stack(rows), np.array(json.loads(labels.read_text("utf-8"))["labels"])


def baselines(train: Paths, scored: Paths) -> Iterator[tuple[str, float]]:
    """The accuracy of each classifier without a network."""
    (inputs, targets), (seen, wanted) = features(*train), features(*scored)
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    for name, classifier in (
        ("nearest neighbour", KNeighborsClassifier(n_neighbors=1)),
        ("logistic regression", regression),
    ):
        yield name, float((classifier.fit(inputs, targets).predict(seen) == wanted).mean())


def trained(data: Path, seed: int, folder: Path, words: list[str]) -> tuple[float, float, float]:
    """Accuracy, seconds and processor seconds of init's recipe on one seed."""
    spec = folder / "spec.yaml"
    write_spec(data, spec, words, force=True)
    settings = [f"results_dir={folder}", f"train.seed={seed}", "train.accelerator=cpu"]
    began, busy = time.perf_counter(), time.process_time()
    tao_like.run(TASK, "train", spec, settings, quiet=True)
    seconds, processor = time.perf_counter() - began, time.process_time() - busy
    result = tao_like.run(TASK, "evaluate", spec, settings, quiet=True)
    return result.metrics["accuracy"], seconds, processor


def measure(data: Path, people: str, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Rows of the baselines and of init's recipe."""
    train, test = ((data / f"{split}_data.npy", data / f"{split}_labels.json") for split in ("train", "test"))
    for name, accuracy in baselines(train, test):
        yield [people, name, "", f"{accuracy:.4f}", "", "", ""]
    found = []
    words = " ".join(options.overrides)
    for seed in range(options.seeds):
        accuracy, seconds, processor = trained(data, seed, folder / f"{seed}", options.overrides)
        found.append(accuracy)
        yield [people, "init", seed, f"{accuracy:.4f}", f"{seconds:.0f}", f"{processor:.0f}", words]
    yield [people, "init, mean", "", f"{statistics.mean(found):.4f}", "", "", words]
    if len(found) > 1:
        yield [people, "init, standard deviation", "", f"{statistics.stdev(found):.4f}", "", "", words]


def all_rows(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """The rows of the test people, or of training people held out."""
    data = converted(options.data, folder)
    if not options.choose:
        yield from measure(data, "test", folder / "test", options)
        return
    for number, held_out in enumerate(FOLDS):
        apart = folder / f"fold{number}"
        fold((data / "train_data.npy", data / "train_labels.json"), held_out, apart)
        # Without validation data init keeps the last epoch, as it does for the test people.
        people = f"held out {' '.join(held_out)}"
        for name in ("data.npy", "labels.json"):
            (apart / f"val_{name}").rename(apart / f"test_{name}")
        yield from measure(apart, people, apart, options)


def main() -> None:
    """Writes the CSV, row by row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--choose", action="store_true", help="score training people held out, no test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("overrides", nargs="*", help="key=value for the spec")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as name, options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in all_rows(Path(name), options):
            print(*row, flush=True)
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
