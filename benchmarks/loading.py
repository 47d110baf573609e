"""Images a second: the training data of this project against torchvision's ImageFolder, in turns.

Both read the same folder with as many worker processes, and give random resized crops of the same size,
flipped at random, as uint8. Data: a folder of class folders.

    python benchmarks/loading.py PHOTOS --workers 0 2
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tao_like.config import load_spec
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.stages.lib.loading import EpochSampler, SeededDataset
from tao_like.tasks.classification.task import ClassificationTask

# isort: split
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

BATCH, SIZE = 16, 224


def ours(folder: Path, cache: str, workers: int) -> Callable[[], DataLoader[Any]]:
    """The train stage's loader."""
    settings = [
        f"dataset.train_dataset.images_dir={folder}",
        f"dataset.img_size={SIZE}",
        f"dataset.cache={cache}",
        "dataset.split={val: 0, test: 0}",
        "train.keep=last",
        "dataset.augmentation.random_color.enable=false",
        "dataset.augmentation.with_scale_random_crop.scale_range=[0.35,1.0]",
    ]
    task = ClassificationTask(load_spec(ClassificationTask.Spec, None, settings).spec)
    data = task.data.dataset("train", augment=True)
    sampler = EpochSampler(len(data), 0, shuffle=True)
    return lambda: DataLoader(
        SeededDataset(data, 0),
        batch_size=BATCH,
        sampler=sampler,
        num_workers=workers,
        collate_fn=task.data.collate,
    )


def theirs(folder: Path, workers: int) -> Callable[[], DataLoader[Any]]:
    """ImageFolder with transforms v2 on Pillow images, as torchvision's references have it."""
    change = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.35, 1.0), interpolation=InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
        ]
    )
    data = ImageFolder(str(folder), change)
    return lambda: DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=workers)


def seconds(loader: DataLoader[Any]) -> float:
    """Seconds of an epoch, from the first batch to the last, so that starting workers does not count."""
    batches = iter(loader)
    next(batches)
    started = time.perf_counter()
    for _ in batches:
        continue
    return time.perf_counter() - started


def main() -> None:
    """Runs the comparison and writes its CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows = []
    for workers in options.workers:
        sides = {
            "ImageFolder": theirs(options.photos, workers),
            "cache=none": ours(options.photos, "none", workers),
            "cache=ram": ours(options.photos, "ram", workers),
        }
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, make in sides.items():
                taken[name].append(seconds(make()))
        count = len(make().dataset) - BATCH  # type: ignore[arg-type]
        base = taken["ImageFolder"]
        for name, times in taken.items():
            speed = statistics.median(count / value for value in times)
            ratio = statistics.median(b / own for b, own in zip(base, times, strict=True))
            rows.append([workers, name, f"{speed:.1f}", f"{ratio:.3f}"])
            print(f"workers {workers}, {name}: {speed:.0f} images/s, {ratio:.2f} of ImageFolder", flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["workers", "side", "images_per_second", "speed_to_imagefolder"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
