"""The chain from KITTI's calibration to its AP: a handful of labelled frames, trained on and scored.

An overfit: it shows that reading, targets, loss, decoding and scoring agree with each other, not how good the
detector is. n valid objects give AP R40 of at most (n - 1) / 40; the first rows are the labels as answers.

Data: KITTI's object data (training/velodyne, label_2, calib), any number of frames.

    python benchmarks/pointpillars_kitti.py KITTI
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like.config import load_spec
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.pointpillars.metrics.frames import scored_frame
from tao_like.tasks.pointpillars.metrics.scoring import DIFFICULTIES, KINDS, kitti_precision
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.task import PointPillarsTask

SPEC = Path(__file__).parents[1] / "specs" / "pointpillars" / "kitti_coarse.yaml"
PLAIN = "dataset.data_augmentor.aug_config_list=[]"
HEADER = ["what", "class", "difficulty", "objects", *(f"{kind} AP R40" for kind in KINDS), "seconds"]


def ceiling(overrides: list[str]) -> list[list[Any]]:
    """Rows of the labels as answers."""
    task = PointPillarsTask(load_spec(Spec, SPEC, overrides).spec)
    data, classes = task.data.dataset("train"), task.data.labels.names
    frames = []
    for index in range(len(data)):
        target = data.sample(index).target
        scores = np.linspace(0.9, 0.5, len(target.labels)).astype(np.float32)
        found = Detections(target.boxes.astype(np.float32), scores, target.labels)
        frames.append(scored_frame(target, found, classes))
    precision = kitti_precision(frames, classes)
    return [
        ["labels as answers", name, one.name, precision[name][one.name]["3d"].objects]
        + [f"{100 * precision[name][one.name][kind].r40:.2f}" for kind in KINDS]
        + [""]
        for name in classes
        for one in DIFFICULTIES
    ]


def rows_of(what: str, scored: Any, seconds: str) -> list[list[Any]]:
    """Rows of an evaluation."""
    rows = []
    for name, figures in scored.report["details"]["per_class"].items():
        for one in DIFFICULTIES:
            by_kind = figures["kitti"][one.name]
            values = [100 * (by_kind[kind]["AP_R40"] or 0.0) for kind in KINDS]
            objects = by_kind["3d"]["objects"]
            rows.append([what, name, one.name, objects, *(f"{value:.2f}" for value in values), seconds])
    return rows


def main() -> None:
    """Trains, exports, scores both forms, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--results", type=Path, help="keep the results here")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("overrides", nargs="*", help="key=value for the spec")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or Path(temporary)
        settings = [f"dataset.data_path={options.data}", f"results_dir={results}", PLAIN]
        settings += [f"train.num_epochs={options.epochs}", f"train.validation_interval={options.epochs}"]
        settings += ["train.keep=last", *options.overrides]
        rows = ceiling(settings)
        trained: Any = tao_like.run("pointpillars", "train", SPEC, settings)
        exported: Any = tao_like.run("pointpillars", "export", SPEC, settings)
        for what, checkpoint in (("bundle", trained.bundle), ("ONNX", exported.onnx_file)):
            words = [*settings, f"evaluate.checkpoint={checkpoint}", "evaluate.split=train"]
            scored: Any = tao_like.run("pointpillars", "evaluate", SPEC, words)
            rows += rows_of(what, scored, f"{trained.report['seconds']:.0f}")
    rows.append([f"{os.cpu_count()} processors", *[""] * (len(HEADER) - 1)])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
