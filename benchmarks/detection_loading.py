"""Training samples of detection a second on one core: decoding alone, preprocessing, and each augmentation.

Data: a folder that `tao-like detection init` recognises.

    python benchmarks/detection_loading.py BCCD
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tao_like.config import load_spec
from tao_like.runtime.inputs.image import read_image
from tao_like.tasks.detection.init import write_spec
from tao_like.tasks.detection.task import DetectionTask

COLOR_OFF = "dataset.augmentation.random_color.enable=false"
AFFINE_OFF = "dataset.augmentation.random_affine.enable=false"
WAYS = {
    "prepared as for evaluation": None,
    "flip": [COLOR_OFF, AFFINE_OFF],
    "flip and colour": [AFFINE_OFF],
    "flip, colour, size and place": [],
    "the same, rotated": ["dataset.augmentation.random_affine.degrees=10"],
    "mosaic, mixup and all of these": [
        "dataset.augmentation.random_affine.degrees=10",
        "dataset.augmentation.mosaic_prob=1",
        "dataset.augmentation.mixup_prob=1",
    ],
}


def rate(work: Callable[[int], object], count: int, runs: int) -> float:
    """Calls a second: the median of some runs."""
    rates = []
    for _ in range(runs):
        began = time.process_time()
        for number in range(count):
            work(number)
        rates.append(count / (time.process_time() - began))
    return statistics.median(rates)


def main() -> None:
    """Measures all ways and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.yaml"
        write_spec(options.data, spec, force=False)
        for cache in ("none", "ram"):
            for name, overrides in WAYS.items():
                task = DetectionTask(
                    load_spec(DetectionTask.Spec, spec, [f"dataset.cache={cache}", *(overrides or [])]).spec
                )
                data = task.data.dataset("train", augment=overrides is not None)
                speed = rate(data.__getitem__, options.samples, options.runs)
                rows.append([cache, name, f"{speed:.1f}"])
                print(*rows[-1], flush=True)
        paths = [record.path for record in data.records]
        decoded = rate(lambda number: read_image(paths[number]), options.samples, options.runs)
        rows.insert(0, ["", "decoding alone", f"{decoded:.1f}"])
        print(*rows[0], flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cache", "what", "samples_per_second_of_one_core"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
