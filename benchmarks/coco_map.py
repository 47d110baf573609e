"""Processor time of COCO's twelve figures on 5,000 made-up images with 36,000 boxes, beside pycocotools.

python benchmarks/coco_map.py --runs 3
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tao_like.data.boxes.annotation import BoxArrays
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.detection.data.dataset import GroundTruth
from tao_like.tasks.detection.metrics.coco import COCO_NAMES, coco_dataset, coco_metrics, coco_results

IMAGES, BOXES, CLASSES = 5000, 36_000, 80
PREDICTIONS_A_BOX = 3
SIDE = 640


def make_case(seed: int) -> tuple[list[Detections], list[GroundTruth]]:
    """Targets, and for each box three answers: near it, less near, and anywhere."""
    draw = np.random.default_rng(seed)
    owner = np.sort(draw.integers(0, IMAGES, BOXES))
    predictions, targets = [], []
    for image in range(IMAGES):
        count = int((owner == image).sum())
        corner = draw.uniform(0, SIDE * 0.8, (count, 2))
        size = np.exp(draw.uniform(np.log(8), np.log(300), (count, 2)))
        boxes = np.concatenate([corner, np.minimum(corner + size, SIDE)], axis=1).astype(np.float32)
        labels = draw.integers(0, CLASSES, count)
        areas = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).astype(np.float32)
        targets.append(GroundTruth(BoxArrays(boxes, labels, draw.random(count) < 0.01, areas), SIDE, SIDE))
        jitters = [boxes + draw.normal(0, spread, boxes.shape) for spread in (3, 15, 120)]
        found = np.concatenate(jitters).astype(np.float32)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        scores = np.round(draw.random(PREDICTIONS_A_BOX * count), 3).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        predictions.append(Detections(found[order], scores[order], np.tile(labels, PREDICTIONS_A_BOX)[order]))
    return predictions, targets


def reference(predictions: list[Detections], targets: list[GroundTruth]) -> list[float]:
    """The figures of pycocotools, on the same dictionaries."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = coco_dataset(targets, CLASSES)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(coco_results(predictions)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and its processor seconds: other work on the machine does not count."""
    began = time.process_time()
    done = work()
    return done, time.process_time() - began


def main() -> None:
    """Times both by turns and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    predictions, targets = make_case(0)
    rows: list[list[Any]] = []
    ours, theirs = [], []
    for number in range(options.runs):
        figures, seconds = timed(lambda: list(coco_metrics(predictions, targets, CLASSES).totals.values()))
        expected, reference_seconds = timed(lambda: reference(predictions, targets))
        difference = max(abs(one - other) for one, other in zip(figures, expected, strict=True))
        ours.append(seconds)
        theirs.append(reference_seconds)
        rows.append([number, f"{seconds:.2f}", f"{reference_seconds:.2f}", f"{difference:.1e}"])
        print(*rows[-1], flush=True)
    median = [f"{statistics.median(times):.2f}" for times in (ours, theirs)]
    rows.append(["median", *median, ""])
    rows += [
        [name, f"{one:.6f}", f"{other:.6f}", ""]
        for name, one, other in zip(COCO_NAMES, figures, expected, strict=True)
    ]
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "seconds", "seconds_pycocotools", "largest_difference"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
