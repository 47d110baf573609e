"""Which recipe `init` writes for some hundred photos: cross-validation inside the training photos.

Data: a folder whose `train` holds class folders; its `val` is never read. Every candidate trains through the
toolkit on each fold's photos and is scored after its last epoch on the photos left out. The rule, fixed
before the first run: of the candidates whose errors lie within one standard error of the fewest, the one
that trains fastest (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).

    python benchmarks/small_data_choice.py HYMENOPTERA --folds 3
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import tao_like

COMMON = (
    "model.backbone.type=tf_efficientnet_lite0",
    "model.backbone.pretrained_backbone_path=package:efficientnet_lite0",
    "model.backbone.freeze_norm=true",
    "model.backbone.drop_rate=0.2",
    "model.head.loss.label_smooth_val=0.1",
    "dataset.img_size=224",
    "dataset.batch_size=16",
    "dataset.augmentation.with_scale_random_crop.scale_range=[0.25,1.0]",
    "dataset.augmentation.random_color.enable=false",
    "train.keep=last",
    "train.tensorboard.enabled=false",
    "train.optim.policy=cosine",
    "train.optim.warmup_epochs=1",
)
SGD = ("train.optim.optim=sgd", "train.optim.lr=0.01", "train.optim.weight_decay=0.0001")
ADAMW = ("train.optim.optim=adamw", "train.optim.lr=0.001", "train.optim.weight_decay=0.01")
CANDIDATES: dict[str, tuple[str, ...]] = {
    "head alone, 8 epochs": (*SGD, "model.backbone.freeze_backbone=true", "train.num_epochs=8"),
    "head alone, 16 epochs": (*SGD, "model.backbone.freeze_backbone=true", "train.num_epochs=16"),
    "all layers, backbone 0.001": (*SGD, "train.optim.lr_backbone=0.001", "train.num_epochs=8"),
    "all layers, backbone 0.0003": (*SGD, "train.optim.lr_backbone=0.0003", "train.num_epochs=8"),
    "head for 3 epochs, then all, backbone 0.001": (
        *SGD,
        "train.optim.lr_backbone=0.001",
        "train.optim.head_epochs=3",
        "train.num_epochs=8",
    ),
    "all layers, adamw, backbone 0.00003": (*ADAMW, "train.optim.lr_backbone=0.00003", "train.num_epochs=8"),
}


def write_folds(train: Path, folder: Path, folds: int) -> list[list[str]]:
    """Writes each fold as links to the photos, stratified by class; gives the overrides that name it."""
    for name in sorted(path.name for path in train.iterdir() if path.is_dir()):
        photos = sorted((train / name).iterdir())
        random.Random(0).shuffle(photos)
        for number, photo in enumerate(photos):
            for fold in range(folds):
                split = "val" if number % folds == fold else "train"
                link = folder / f"fold{fold}" / split / name / photo.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(photo.resolve())
    return [
        [
            f"dataset.train_dataset.images_dir={folder}/fold{fold}/train",
            f"dataset.val_dataset.images_dir={folder}/fold{fold}/val",
            "dataset.split.val=0",
            "dataset.split.test=0",
        ]
        for fold in range(folds)
    ]


def main() -> None:
    """Runs all candidates, a fold at a time, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    wrong = dict.fromkeys(CANDIDATES, 0)
    seconds = dict.fromkeys(CANDIDATES, 0.0)
    photos = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for fold, data in enumerate(write_folds(options.photos / "train", folder, options.folds)):
            left_out = sum(1 for path in (folder / f"fold{fold}" / "val").rglob("*") if path.is_file())
            photos += left_out
            for candidate, settings in CANDIDATES.items():
                results = folder / f"results{fold}" / str(list(CANDIDATES).index(candidate))
                began = time.perf_counter()
                done: Any = tao_like.run(
                    "classification",
                    "train",
                    None,
                    [*COMMON, *settings, *data, f"results_dir={results}"],
                    quiet=True,
                )
                errors = round((1 - done.metrics["accuracy"]) * left_out)
                wrong[candidate] += errors
                seconds[candidate] += time.perf_counter() - began
                print(f"fold {fold}: {candidate}: {errors} of {left_out} wrong", flush=True)
    fewest = min(wrong.values())
    error = math.sqrt(photos * (fewest / photos) * (1 - fewest / photos))
    chosen = min((c for c in CANDIDATES if wrong[c] <= fewest + error), key=lambda c: seconds[c])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["candidate", "wrong", "photos", "seconds", "chosen"])
        for candidate in CANDIDATES:
            writer.writerow(
                [candidate, wrong[candidate], photos, f"{seconds[candidate]:.0f}", candidate == chosen]
            )
    print(f"one standard error of the fewest: {error:.1f} photos; chosen: {chosen}")


if __name__ == "__main__":
    main()
