"""Half the multiply-accumulates: what pruning costs in accuracy and minutes, and what it buys in latency.

Data: a folder with train and val class folders (hymenoptera: 244 and 153 photos of ants and bees). For each
seed EfficientNet-Lite0 is trained by the spec that `init` writes, then pruned and trained again by the
shipped `specs/classification/prune.yaml`, with the unpruned network as the teacher. Accuracy is that of the
last epoch on val, which had no part in the choice of prune.yaml's settings: they were chosen on a quarter of
the training photos, held out of training (docs/decisions.md). Minutes are those of pruning and training
again. Both networks are exported, and timed in turns in onnxruntime at batch 1.

    python benchmarks/pruning.py HYMENOPTERA --seeds 3
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like import runtime
from tao_like.config.shipped import shipped_specs
from tao_like.stages.lib.latency import measure_in_turns
from tao_like.tasks.classification.init import write_spec

HEADER = [
    "seed",
    "accuracy",
    "accuracy_cut",
    "accuracy_pruned",
    "macs_share",
    "latency_share",
    "median_ms",
    "pruned_median_ms",
    "minutes",
]
PRUNE_SPEC = shipped_specs() / "classification" / "prune.yaml"


def run(stage: str, spec: Path, *overrides: str) -> Any:
    """Runs a stage of classification."""
    return tao_like.run("classification", stage, spec, list(overrides), quiet=True)


def latency(before: Path, after: Path, rounds: int) -> tuple[float, float]:
    """Median milliseconds of two exported files at batch 1, in turns, on a preprocessed image of noise."""
    calls = {}
    for name, path in (("before", before), ("after", after)):
        model = runtime.load(path)
        preprocessing = model.metadata.preprocessing
        shape = (1, preprocessing["height"], preprocessing["width"], 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        calls[name] = lambda model=model, pixels=pixels: model.run_preprocessed(pixels)
    times = measure_in_turns(calls, rounds=rounds)
    return times["before"].median_ms, times["after"].median_ms


def measure(photos: Path, folder: Path, seed: int, rounds: int) -> list[Any]:
    """One seed: train, prune, train again, export both, time both."""
    own = folder / "own.yaml"
    write_spec(photos, own, force=True)
    data = [f"dataset.{split}_dataset.images_dir={photos / split}" for split in ("train", "val")]
    common = [f"results_dir={folder}", f"train.seed={seed}", "train.keep=last"]
    whole = run("train", own, *common)
    started = time.perf_counter()
    pruned = run("prune", PRUNE_SPEC, *data, *common, f"prune.checkpoint={whole.bundle}")
    again = run(
        "train",
        PRUNE_SPEC,
        *data,
        *common,
        f"train.results_dir={folder / 'again'}",
        f"train.pruned_model_path={pruned.bundle}",
        f"train.distill.teacher_model_path={whole.bundle}",
    )
    minutes = (time.perf_counter() - started) / 60
    files = [
        run(
            "export", own, *common, f"export.checkpoint={result.bundle}", f"export.onnx_file={folder / name}"
        ).onnx_file
        for name, result in (("whole.onnx", whole), ("pruned.onnx", again))
    ]
    before, after = latency(*files, rounds)
    return [
        seed,
        f"{whole.metrics['accuracy']:.4f}",
        f"{pruned.metrics['accuracy']:.4f}",
        f"{again.metrics['accuracy']:.4f}",
        f"{pruned.macs_share:.3f}",
        f"{after / before:.3f}",
        f"{before:.2f}",
        f"{after:.2f}",
        f"{minutes:.1f}",
    ]


def main() -> None:
    """Runs all seeds and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as name:
            rows.append(measure(options.photos, Path(name), seed, options.rounds))
        print(*rows[-1], flush=True)
    means = [f"{statistics.mean(float(row[column]) for row in rows):.4f}" for column in range(1, len(HEADER))]
    print("mean", *means, flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADER, f"processors={os.cpu_count()}"])
        writer.writerows([*rows, ["mean", *means]])


if __name__ == "__main__":
    main()
