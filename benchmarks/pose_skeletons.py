"""Pose classification on its sample data: accuracy, baselines, ONNX, int8 and a pruned network.

python benchmarks/pose_skeletons.py

The shipped spec skeleton_actions.yaml, once a seed. Beside it baselines that do not see motion: the commonest
class, and the nearest neighbour and a linear classifier on the middle frame, normalized as the network's
input is.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like.config import load_spec
from tao_like.runtime.inputs.skeleton import SkeletonPreprocessing, preprocess_skeleton
from tao_like.samples.catalog import write_sample
from tao_like.tasks import spec_module, task_class

SPEC = Path(__file__).parents[1] / "specs" / "pose_classification" / "skeleton_actions.yaml"
TASK = "pose_classification"
HEADER = ["what", "seed", "value", "unit"]


def data_words(folder: Path) -> list[str]:
    """Overrides that name the sample data."""
    return [
        f"dataset.{split}_dataset.{key}={folder / f'{split}_{file}'}"
        for split in ("train", "val", "test")
        for key, file in (("data_path", "data.npy"), ("label_path", "labels.json"))
    ]


def middle_frame(sequence: np.ndarray, preprocessing: SkeletonPreprocessing) -> np.ndarray:
    """The frame in the middle by itself: normalized beside the others, it would tell of the first one too."""
    shown = np.flatnonzero(sequence.any(axis=(0, 2, 3)))
    alone = sequence[:, shown[len(shown) // 2]][:, None]
    return preprocess_skeleton(alone, replace(preprocessing, frames=1)).ravel()


def baselines(words: list[str]) -> dict[str, float]:
    """Accuracies on the test data without motion."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    task = task_class(TASK)(load_spec(spec_module(TASK).Spec, SPEC, words).spec)
    frames, targets = {}, {}
    for split in ("train", "test"):
        data = task.data.dataset(split)  # type: ignore[arg-type]
        samples = [data.sample(index) for index in range(len(data))]
        frames[split] = np.stack([middle_frame(sample.data, data.preprocessing) for sample in samples])
        targets[split] = np.array([sample.target for sample in samples])
    common = np.bincount(targets["train"]).argmax()
    found = {"commonest class": float((targets["test"] == common).mean())}
    for name, model in (
        ("middle frame, nearest neighbour", KNeighborsClassifier(1)),
        ("middle frame, linear", LogisticRegression(max_iter=2000)),
    ):
        model.fit(frames["train"], targets["train"])
        found[name] = float(model.score(frames["test"], targets["test"]))
    return found


def one_seed(seed: int, words: list[str], results: Path) -> list[list[Any]]:
    """Trains, exports, quantizes, prunes and trains again."""
    common = [*words, f"results_dir={results}", f"train.seed={seed}", "train.accelerator=cpu"]

    def run(stage: str, *overrides: str) -> Any:
        return tao_like.run(TASK, stage, SPEC, [*common, *overrides], quiet=True)

    trained = run("train")
    rows = [["training", seed, f"{trained.report['seconds']:.0f}", "s"]]

    def score(what: str, checkpoint: Path) -> None:
        accuracy = run("evaluate", f"evaluate.checkpoint={checkpoint}").metrics["accuracy"]
        rows.append([f"accuracy, {what}", seed, f"{accuracy:.4f}", "share"])

    score("bundle", trained.bundle)
    exported = run("export")
    score("ONNX", exported.onnx_file)
    rows.append(
        ["largest difference of ONNX to the bundle", seed, f"{exported.difference:.1e}", "probability"]
    )
    score("int8", run("quantize", "quantize.max_drop=1").onnx_file)
    pruned = run("prune", "prune.target_macs=0.5", "prune.granularity=8")
    rows.append(["MACs after pruning", seed, f"{pruned.macs_share:.3f}", "share"])
    score("pruned, not trained again", pruned.bundle)
    again = results / "again"
    trained_again = run("train", f"results_dir={again}", f"train.pruned_model_path={pruned.bundle}")
    score("pruned and trained again", trained_again.bundle)
    return rows


def main() -> None:
    """Measures, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = write_sample("skeleton_actions", Path(name) / "actions")
        words = data_words(folder)
        rows: list[list[Any]] = [
            [f"accuracy, {what}", "", f"{value:.4f}", "share"] for what, value in baselines(words).items()
        ]
        for seed in range(options.seeds):
            rows += one_seed(seed, words, Path(name) / f"seed{seed}")
            for row in rows[-8:]:
                print(*row, flush=True)
    for what in dict.fromkeys(row[0] for row in rows if row[1] != ""):
        values = [float(row[2]) for row in rows if row[0] == what]
        rows.append(
            [
                f"{what}, mean",
                "",
                f"{statistics.mean(values):.4g}",
                next(row[3] for row in rows if row[0] == what),
            ]
        )
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
