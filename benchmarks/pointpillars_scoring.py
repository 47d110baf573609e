"""Time to score as many frames as KITTI's validation has, by KITTI's rules and plainly.

3,769 made frames in the camera's view with about as many objects as KITTI's (14,385 cars, 2,280 pedestrians,
893 cyclists), regions without labels, and answers as a detector gives them: most objects found with small
errors, and as many wrong predictions again. `mAP` is what a validation in training computes, `details` what
`evaluate` adds: each class at every difficulty and by distance.

    python benchmarks/pointpillars_scoring.py
"""

from __future__ import annotations

import argparse
import csv
import os
import pickle
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tao_like.data.lidar.frame import Calibration, Object3d, frame_objects
from tao_like.data.lidar.kitti import boxes_to_camera, camera_angles, camera_boxes
from tao_like.runtime.predictions.detections import Detections
from tao_like.tasks.pointpillars.data.dataset import FrameTarget
from tao_like.tasks.pointpillars.metrics.detection3d import PointPillarsMetrics

FRAMES = 3769


class Kind(NamedTuple):
    """A class of objects: how many there are, and length, width and height in metres."""

    count: int
    size: tuple[float, float, float]


KINDS = {
    "Car": Kind(14385, (3.9, 1.6, 1.56)),
    "Pedestrian": Kind(2280, (0.8, 0.6, 1.73)),
    "Cyclist": Kind(893, (1.76, 0.6, 1.73)),
}
CAMERA = Calibration(
    np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]]),
    np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1.0]]),
    (1242, 375),
)
FOUND = 0.8
"""Fraction of the objects that a prediction is made for."""


def made_boxes(count: int, size: tuple[float, float, float], random: np.random.Generator) -> np.ndarray:
    """Boxes (count, 7) in front of the camera, at most 60 m away."""
    away = random.uniform(6, 60, count)
    side = away * random.uniform(-0.7, 0.7, count)
    boxes = np.empty((count, 7))
    boxes[:, 0], boxes[:, 1] = away, side
    boxes[:, 2] = size[2] / 2 - 1.73
    boxes[:, 3:6] = size * random.normal(1, 0.08, (count, 3))
    boxes[:, 6] = random.uniform(-np.pi, np.pi, count)
    return boxes


def made_frame(counts: list[int], random: np.random.Generator) -> tuple[FrameTarget, Detections]:
    """A frame and what a detector says of it."""
    objects: list[Object3d] = []
    boxes, scores, labels = [], [], []
    for label, (name, kind) in enumerate(KINDS.items()):
        true = made_boxes(counts[label], kind.size, random)
        angles = camera_angles(boxes_to_camera(true, CAMERA))
        pixels = camera_boxes(true, CAMERA)
        for box, alpha, pixel in zip(true, angles, pixels, strict=True):
            objects.append(
                Object3d(
                    name,
                    tuple(box),
                    float(random.choice([0, 0, 0.2, 0.6])),
                    int(random.integers(0, 3)),
                    float(alpha),
                    tuple(pixel),
                )
            )
        seen = true[random.random(len(true)) < FOUND]
        errors = random.normal(0, [0.15, 0.1, 0.05, 0.1, 0.05, 0.05, 0.05], seen.shape)
        wrong = made_boxes(int(random.poisson(counts[label])), kind.size, random)
        boxes += [seen + errors, wrong]
        scores += [random.beta(5, 2, len(seen)), random.beta(2, 5, len(wrong))]
        labels += [np.full(len(seen) + len(wrong), label)]
    regions = tuple((x, 150.0, x + 60.0, 200.0) for x in random.uniform(0, 1100, int(random.poisson(1.4))))
    target = FrameTarget(frame_objects(objects, list(KINDS), {}), CAMERA, regions)
    predictions = Detections(
        np.concatenate(boxes).astype(np.float32),
        np.concatenate(scores).astype(np.float32),
        np.concatenate(labels),
    )
    return target, predictions


def main() -> None:
    """Makes the frames, scores them, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    random = np.random.default_rng(0)
    metrics = PointPillarsMetrics(list(KINDS), {"kind": "per_class", "values": [0.3] * len(KINDS)}, "kitti")
    found, taken_in = 0, np.zeros(2)
    # A few frames hold most of the objects, as streets do.
    fractions = random.dirichlet(np.full(options.frames, 1.5))
    counts = np.stack(
        [random.multinomial(kind.count * options.frames // FRAMES, fractions) for kind in KINDS.values()]
    )
    for index in range(options.frames):
        target, predictions = made_frame(counts[:, index].tolist(), random)
        found += len(predictions.scores)
        began, cpu = time.perf_counter(), time.process_time()
        metrics.update([index], [predictions], [target])
        taken_in += np.array([time.perf_counter() - began, time.process_time() - cpu])
    rows: list[list[object]] = [
        ["frames", options.frames],
        ["objects", int(counts.sum())],
        ["answers", found],
    ]
    began, cpu = time.perf_counter(), time.process_time()
    report = metrics.compute()
    computed = np.array([time.perf_counter() - began, time.process_time() - cpu])
    for name, (passed, of_processor) in (("overlaps, seconds", taken_in), ("metrics, seconds", computed)):
        rows.append([name, f"{passed:.1f}"])
        rows.append([f"{name} of a processor", f"{of_processor:.1f}"])
    rows += [[key, f"{value:.4f}"] for key, value in report.values.items()]
    rows.append(["bytes of a frame between processes", len(pickle.dumps(metrics.frames)) // options.frames])
    rows.append(["processors", os.cpu_count()])
    for row in rows:
        print(*row)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "value"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
