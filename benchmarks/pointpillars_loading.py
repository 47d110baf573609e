"""Training frames a second of one core: reading, preprocessing, augmentation, and a training step beside
them.

Processor time of one thread. Data: made street scenes with the spec of lidar_scenes, and KITTI's frames with
that of kitti, where they are given.

    python benchmarks/pointpillars_loading.py [KITTI]
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tao_like.config import load_spec
from tao_like.samples.lidar_scenes import write_frames
from tao_like.tasks.pointpillars.data.dataset import Item
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.task import PointPillarsTask

SPECS = Path(__file__).parents[1] / "specs" / "pointpillars"
FRAMES = 40
HEADER = ["spec", "what", "points a frame", "frames a second of one core", "share of a training step"]


def seconds(work: Callable[[int], object], count: int, runs: int) -> float:
    """Processor seconds of a call: the median of some runs over the same numbers."""
    found = []
    for _ in range(runs):
        began = time.process_time()
        for number in range(count):
            work(number)
        found.append((time.process_time() - began) / count)
    return statistics.median(found)


def training_step(task: PointPillarsTask, items: list[Item]) -> Callable[[int], object]:
    """A step of the network of the spec on one batch."""
    network, _ = task.model(pretrained=False)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    (phase,) = task.phases()
    batch = task.data.collate(items)

    def step(number: int) -> None:
        del number
        optimizer.zero_grad()
        torch.stack(list(phase.losses(network, batch).values())).sum().backward()
        optimizer.step()

    # The first one takes memory, which the others find.
    step(0)
    return step


def rows_of(name: str, overrides: list[str], *, runs: int, steps: int) -> list[list[Any]]:
    """All ways with a spec and its data."""
    task = PointPillarsTask(load_spec(Spec, SPECS / f"{name}.yaml", overrides).spec)
    plain, augmented = task.data.dataset("train"), task.data.dataset("train", augment=True)
    paths = [record.path for record in plain.records]
    # The first frame cuts out the database of ground-truth sampling.
    augmented[0]
    changes = augmented.augment
    assert changes is not None
    by_name = {step.name: step for step in changes.steps}
    count = len(plain)
    times = {"np.fromfile alone": seconds(lambda number: np.fromfile(paths[number], np.float32), count, runs)}
    times["read and prepared"] = seconds(plain.__getitem__, count, runs)
    changes.steps = [step for kind, step in by_name.items() if kind != "gt_sampling"]
    times["the same, flipped, turned and scaled"] = seconds(augmented.__getitem__, count, runs)
    changes.steps = list(by_name.values())
    times["the same, with ground-truth sampling"] = seconds(augmented.__getitem__, count, runs)
    size = task.spec.dataset.batch_size
    assert isinstance(size, int)
    items = [augmented[number % count] for number in range(size)]
    of_step = seconds(training_step(task, items), steps, 1) / size
    times[f"a training step, {size} frames"] = of_step
    points = int(np.median([len(plain.sample(number).data) for number in range(min(count, 10))]))
    return [
        [name, what, points, f"{1 / value:.1f}", f"{value / of_step:.3f}"] for what, value in times.items()
    ]


def main() -> None:
    """Measures both specs and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kitti", nargs="?", type=Path, help="KITTI's object data; left out: no rows of it")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="training steps that are timed")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder), {"train": FRAMES}, seed=1)
        data = {"lidar_scenes": Path(folder)}
        if options.kitti:
            data["kitti"] = options.kitti
        rows = []
        for name, place in data.items():
            words = [
                f"dataset.data_path={place}",
                "dataset.data_split={val: null, test: null}",
                "train.keep=last",
            ]
            rows += rows_of(name, words, runs=options.runs, steps=options.steps)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
