"""Pose classification on UTKinect-Action3D: 199 clips of ten actions, five people train, five test.

    python benchmarks/pose_utkinect.py UTKINECT            # three seeds of ST-GCN++ and of ST-GCN on the test
    python benchmarks/pose_utkinect.py UTKINECT --choose   # recipes on training people held out; no test

UTKINECT holds the joint files and actionLabel.txt; s01 to s05 train, s06 to s10 test. Recipes are compared
on two folds: trained on three of the five training people, scored on the other two. The test people have no
part in that.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tao_like

SPEC = Path(__file__).parents[1] / "specs" / "pose_classification" / "small_data.yaml"
TASK = "pose_classification"
HEADER = ["what", "model", "seed", "accuracy", "mean_class_accuracy", "seconds"]
FOLDS = (("s01", "s02"), ("s04", "s05"))
"""Training people that are held out."""
RECIPES: dict[str, tuple[str, ...]] = {
    "as shipped": (),
    "joints alone": ("model.streams=[joint]",),
    "four streams": ("model.streams=[joint,bone,joint_motion,bone_motion]",),
    "without alignment": ("dataset.align_axes=false",),
    "with mirror images": ("dataset.augmentation.mirror_prob=0.5",),
    "without augmentation": ("dataset.augmentation={rotation: 0, scale: 0, mirror_prob: 0, noise: 0}",),
    "32 frames": ("dataset.window_size=32",),
    "16 sequences a step": ("dataset.batch_size=16",),
}


def run(stage: str, results: Path, *overrides: str) -> Any:
    """Runs a stage of the shipped spec on the CPU."""
    return tao_like.run(
        TASK, stage, SPEC, [f"results_dir={results}", "train.accelerator=cpu", *overrides], quiet=True
    )


def converted(data: Path, results: Path) -> dict[str, tuple[Path, Path]]:
    """The arrays and labels of both splits."""
    folder = run("dataset_convert", results, f"dataset_convert.data={data}").folder
    return {
        split: (folder / f"{split}_data.npy", folder / f"{split}_labels.json") for split in ("train", "test")
    }


def sources(**splits: tuple[Path, Path]) -> list[str]:
    """Overrides that name arrays and labels."""
    return [
        f"dataset.{split}_dataset.{key}={path}"
        for split, paths in splits.items()
        for key, path in zip(("data_path", "label_path"), paths, strict=True)
    ]


def fold(train: tuple[Path, Path], held_out: tuple[str, ...], folder: Path) -> list[str]:
    """Writes the training people as two parts; gives the overrides that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    data, labels = np.load(train[0]), json.loads(train[1].read_text("utf-8"))
    parts = {}
    for split in ("train", "val"):
        chosen = [
            number
            for number, name in enumerate(labels["names"])
            if name.startswith(held_out) == (split == "val")
        ]
        paths = folder / f"{split}_data.npy", folder / f"{split}_labels.json"
        np.save(paths[0], data[chosen])
        part = {key: [labels[key][number] for number in chosen] for key in ("names", "labels")}
        paths[1].write_text(json.dumps({"classes": labels["classes"], **part}), "utf-8")
        parts[split] = paths
    return [*sources(**parts), "dataset.test_dataset.data_path=null", "dataset.test_dataset.label_path=null"]


def compare_recipes(train: tuple[Path, Path], folder: Path, words: list[str]) -> list[list[Any]]:
    """The mean accuracy of each recipe on the people held out."""
    rows: list[list[Any]] = []
    for name, recipe in RECIPES.items():
        found = []
        for number, held_out in enumerate(FOLDS):
            data = fold(train, held_out, folder / f"fold{number}")
            trained = run("train", folder / name.replace(" ", "_") / str(number), *data, *recipe, *words)
            found.append(trained.metrics["accuracy"])
            rows.append([f"held out {' '.join(held_out)}", name, 1234, *figures(trained), seconds(trained)])
            print(*rows[-1], flush=True)
        rows.append(["held out, mean", name, "", f"{statistics.mean(found):.4f}", "", ""])
    return rows


def measure(
    splits: dict[str, tuple[Path, Path]], seeds: int, folder: Path, words: list[str]
) -> list[list[Any]]:
    """The accuracy on the test people, by network and seed."""
    rows: list[list[Any]] = []
    for model in ("ST-GCN++", "ST-GCN"):
        found = []
        for seed in range(seeds):
            results = folder / f"{model}_{seed}"
            settings = [*sources(**splits), f"model.model_type={model}", f"train.seed={seed}", *words]
            trained = run("train", results, *settings)
            scored = run("evaluate", results, *settings)
            found.append(scored.metrics["accuracy"])
            rows.append(["test", model, seed, *figures(scored), seconds(trained)])
            print(*rows[-1], flush=True)
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        rows.append(["test, mean", model, "", f"{statistics.mean(found):.4f}", "", ""])
        rows.append(["test, standard deviation", model, "", f"{spread:.4f}", "", ""])
    return rows


def figures(result: Any) -> list[str]:
    """Accuracy and mean class accuracy."""
    return [f"{result.metrics[name]:.4f}" for name in ("accuracy", "mean_class_accuracy")]


def seconds(trained: Any) -> str:
    """How long a training took."""
    return f"{trained.report['seconds']:.0f}"


def main() -> None:
    """Compares recipes, or measures the shipped one; writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--choose", action="store_true", help="compare recipes on training people held out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value for the spec")
    options = parser.parse_intermixed_args()
    output = options.output or Path(__file__).with_name(
        "pose_utkinect_choice.csv" if options.choose else "pose_utkinect.csv"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        splits = converted(options.data, folder)
        if options.choose:
            rows = compare_recipes(splits["train"], folder, options.overrides)
        else:
            rows = measure(splits, options.seeds, folder, options.overrides)
    with output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
