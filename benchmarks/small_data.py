"""Accuracy with some hundred photos: the spec that `init` writes, over seeds, beside a linear probe.

Data: a folder with train and val class folders (hymenoptera: 244 and 153 photos of ants and bees).
The figure is that of the last epoch (train.keep=last). small_data_choice.py chose the recipe, inside train;
docs/decisions.md says what of val had been seen by then. Each seed must end within
five minutes on two cores. The same from random weights for contrast, and a linear probe (logistic regression
on the frozen backbone's pooled features), whose strength is chosen by cross-validation on train.

    python benchmarks/small_data.py HYMENOPTERA --seeds 5
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like.tasks.classification.init import write_spec

HEADER = ["what", "seed", "accuracy", "seconds", "onnx_accuracy", "largest_difference"]


def train(spec: Path, results: Path, seed: int, extra: list[str]) -> tuple[float, float]:
    """Accuracy on val after the last epoch, and the seconds of the whole stage."""
    started = time.perf_counter()
    settings = [f"results_dir={results}", f"train.seed={seed}", "train.keep=last", *extra]
    done: Any = tao_like.run("classification", "train", spec, settings, quiet=True)
    return done.metrics["accuracy"], time.perf_counter() - started


def export(spec: Path, results: Path) -> tuple[float, float]:
    """The ONNX file's accuracy on val, and its largest difference to the bundle's probabilities."""
    settings = [f"results_dir={results}"]
    exported: Any = tao_like.run("classification", "export", spec, settings, quiet=True)
    tables = []
    for checkpoint in (results / "train" / "model.tltb", exported.onnx_file):
        scored: Any = tao_like.run(
            "classification", "evaluate", spec, [*settings, f"evaluate.checkpoint={checkpoint}"], quiet=True
        )
        with scored.predictions.open(newline="") as file:
            rows = list(csv.DictReader(file))
        tables.append(np.array([[float(v) for k, v in row.items() if k.startswith("p_")] for row in rows]))
    return scored.metrics["accuracy"], float(np.abs(tables[0] - tables[1]).max())


def linear_probe(spec: Path) -> float:
    """Accuracy on val of a logistic regression on pooled features."""
    import torch
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tao_like.config import load_spec
    from tao_like.tasks.classification.task import ClassificationTask

    task = ClassificationTask(load_spec(ClassificationTask.Spec, spec).spec)
    network, _ = task.model(pretrained=True)
    network.eval()
    features: dict[str, Any] = {}
    with torch.inference_mode():
        for split in ("train", "val"):
            data = task.data.dataset(split)  # type: ignore[arg-type]
            parts = []
            for start in range(0, len(data), 32):
                batch = task.data.collate([data[i] for i in range(start, min(start + 32, len(data)))])
                maps: Any = network.backbone.forward_features(network.normalise(batch.input))  # type: ignore[operator]
                parts.append(network.backbone.forward_head(maps, pre_logits=True).numpy())  # type: ignore[operator]
            features[split] = (np.concatenate(parts), np.array(data.targets))
    probe = make_pipeline(
        StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-5, 0, 6), cv=5, max_iter=2000)
    )
    probe.fit(*features["train"])
    return float(probe.score(*features["val"]))


def main() -> None:
    """Runs all seeds and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--random-seeds", type=int, default=1, help="seeds of the contrast from random weights"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = folder / "spec.yaml"
        write_spec(options.photos, spec, force=False)
        probe = linear_probe(spec)
        rows.append(["linear probe", "", f"{probe:.4f}", "", "", ""])
        print(f"linear probe {probe:.4f}", flush=True)
        accuracies = []
        for seed in range(options.seeds):
            accuracy, seconds = train(spec, folder / f"seed{seed}", seed, [])
            onnx_accuracy, difference = export(spec, folder / f"seed{seed}")
            accuracies.append(accuracy)
            rows.append(
                [
                    "init's spec",
                    seed,
                    f"{accuracy:.4f}",
                    f"{seconds:.0f}",
                    f"{onnx_accuracy:.4f}",
                    f"{difference:.1e}",
                ]
            )
            print(*rows[-1], flush=True)
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        rows.append(["mean of seeds", "", f"{statistics.mean(accuracies):.4f}", "", "", ""])
        rows.append(["spread of seeds (standard deviation)", "", f"{spread:.4f}", "", "", ""])
        print(f"mean {statistics.mean(accuracies):.4f}, standard deviation {spread:.4f}", flush=True)
        # Random weights need every layer to learn.
        unfrozen = [
            "model.backbone.pretrained_backbone_path=null",
            "model.backbone.freeze_norm=false",
            "model.backbone.freeze_backbone=false",
            "train.optim.lr_backbone=null",
        ]
        for seed in range(options.random_seeds):
            accuracy, seconds = train(spec, folder / f"random{seed}", seed, unfrozen)
            rows.append(["the same from random weights", seed, f"{accuracy:.4f}", f"{seconds:.0f}", "", ""])
            print(*rows[-1], flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
