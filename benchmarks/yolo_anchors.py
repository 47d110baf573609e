"""A short training of YOLOv4: how much classes weigh, and anchors in the paper's pixels or in proportion.

Data: the training photos of `tao-like samples digit_scenes`, a fifth of them held out, at 160 x 128 pixels.
Eight epochs (256 steps) by the shipped `specs/detection/small_data.yaml` with `model.arch=yolo_v4` and a neck
of 128 channels; mAP of the held-out photos after the last epoch. One seed a row.

    python benchmarks/yolo_anchors.py
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from itertools import product
from pathlib import Path

import tao_like
from tao_like.config.shipped import shipped_specs
from tao_like.samples.catalog import write_sample
from tao_like.tasks.detection.anchors.presets import PUBLISHED

MAPS = ("small_anchor_shape", "mid_anchor_shape", "big_anchor_shape")
COMMON = (
    "model.arch=yolo_v4",
    "model.neck.width=128",
    "dataset.split.val=0.2",
    "dataset.split.test=0",
    "dataset.img_size=160",
    "dataset.img_height=128",
    "dataset.augmentation.horizontal_flip_prob=0",
    "dataset.augmentation.vertical_flip_prob=0",
    "dataset.augmentation.plain_epochs=1",
    "train.num_epochs=8",
    "train.validation_interval=8",
    "train.keep=last",
    "train.tensorboard.enabled=false",
)


def main() -> None:
    """Trains four times and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    shapes = [[list(shape) for shape in of_map] for of_map in PUBLISHED["yolo_v4"].shapes]
    in_pixels = [f"model.anchors.{name}={shape}" for name, shape in zip(MAPS, shapes, strict=True)]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_sample("digit_scenes", folder / "scenes")
        source = f"{{image_dir: '{data / 'train'}', json_file: '{data / 'train.json'}'}}"
        for weight, anchors in product((1, 3), ("in proportion", "in pixels")):
            trained = tao_like.run(
                "detection",
                "train",
                shipped_specs() / "detection" / "small_data.yaml",
                [
                    *COMMON,
                    *(in_pixels if anchors == "in pixels" else []),
                    f"dataset.train_data_sources=[{source}]",
                    f"model.anchors.loss_class_weights={weight}",
                    f"results_dir={folder / 'results'}",
                ],
                quiet=True,
            )
            metrics = trained.metrics
            rows.append([weight, anchors, f"{metrics['mAP50']:.3f}", f"{metrics['mAP']:.3f}"])
            print(*rows[-1], flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class_weight", "anchors", "mAP50", "mAP"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
