"""LiDAR scenes that the network has not seen: AP at overlap 0.5, beside a baseline without learning.

The baseline takes the points above the road, joins cells of 0.4 m that touch to clusters, lays the smallest
turned rectangle around each, and calls it a car where it is as long and high as a part of one.

    python benchmarks/pointpillars_scenes.py
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tao_like
from tao_like.config import load_spec
from tao_like.runtime.inputs.points import Points
from tao_like.runtime.predictions.detections import Detections
from tao_like.samples.catalog import write_sample
from tao_like.samples.lidar_scenes import GROUND
from tao_like.tasks.pointpillars.metrics.frames import scored_frame
from tao_like.tasks.pointpillars.metrics.scoring import plain_precision
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.task import PointPillarsTask

SPEC = Path(__file__).parents[1] / "specs" / "pointpillars" / "lidar_scenes.yaml"
CELL = 0.4
ABOVE = 0.35
HEADER = ["what", "class", "objects", "BEV AP R40 at 0.5", "3D AP R40 at 0.5", "seconds"]


def clusters(points: Points) -> list[Points]:
    """The points above the road, by cells that touch."""
    high = points[points[:, 2] > GROUND + ABOVE]
    cells, cell_of = np.unique(np.floor(high[:, :2] / CELL).astype(int), axis=0, return_inverse=True)
    place = {tuple(cell): number for number, cell in enumerate(cells.tolist())}
    group = np.full(len(cells), -1)
    for start in range(len(cells)):
        if group[start] >= 0:
            continue
        group[start], stack = start, [start]
        while stack:
            x, y = cells[stack.pop()]
            for step in np.ndindex(3, 3):
                near = place.get((x + step[0] - 1, y + step[1] - 1))
                if near is not None and group[near] < 0:
                    group[near] = start
                    stack.append(near)
    of_point = group[cell_of.ravel()]
    return [high[of_point == number] for number in np.unique(of_point)]


def rectangle(points: Points) -> npt.NDArray[np.float64]:
    """The box of the smallest ground area around points, its longer side along the heading."""
    best: npt.NDArray[np.float64] | None = None
    for yaw in np.deg2rad(np.arange(0, 90, 3)):
        cosine, sine = np.cos(yaw), np.sin(yaw)
        turned = points[:, :2] @ np.array([[cosine, -sine], [sine, cosine]])
        low, high = turned.min(axis=0), turned.max(axis=0)
        size, middle = np.maximum(high - low, 0.1), (low + high) / 2
        if best is None or size.prod() < best[3] * best[4]:
            x, y = middle @ np.array([[cosine, sine], [-sine, cosine]])
            length, width, angle = (*size, yaw) if size[0] >= size[1] else (*size[::-1], yaw + np.pi / 2)
            best = np.array([x, y, 0, length, width, 0, angle])
    assert best is not None
    top = points[:, 2].max()
    best[2], best[5] = (top + GROUND) / 2, top - GROUND
    return best


def baseline(points: Points) -> Detections:
    """Cars as clusters; the more points, the surer."""
    boxes, scores = [], []
    for cluster in clusters(points):
        box = rectangle(cluster)
        if len(cluster) >= 5 and 1.2 <= box[3] <= 5.5 and box[4] <= 2.4 and 0.9 <= box[5] <= 2.1:
            boxes.append(box)
            scores.append(1 - 1 / len(cluster))
    values = np.array(boxes, np.float32).reshape(-1, 7)
    return Detections(values, np.array(scores, np.float32), np.zeros(len(values), np.int64))


def score_baseline(settings: list[str]) -> list[Any]:
    """Its row."""
    data = PointPillarsTask(load_spec(Spec, SPEC, settings).spec).data.dataset("test")
    samples = [data.sample(index) for index in range(len(data))]
    frames = [scored_frame(one.target, baseline(one.data), ["Car"]) for one in samples]
    found = plain_precision(frames, 0)
    values = [f"{100 * found[kind].r40:.2f}" for kind in ("bev", "3d")]
    return ["clusters", "Car", found["bev"].objects, *values, ""]


def main() -> None:
    """Makes the scenes, trains, scores, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, help="keep the results here")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("overrides", nargs="*", help="key=value for the spec")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or Path(temporary)
        scenes = write_sample("lidar_scenes", results / "scenes")
        settings = [f"dataset.data_path={scenes}", f"results_dir={results}", *options.overrides]
        rows = [score_baseline(settings)]
        trained: Any = tao_like.run("pointpillars", "train", SPEC, settings)
        exported: Any = tao_like.run("pointpillars", "export", SPEC, settings)
        for what, checkpoint in (("bundle", trained.bundle), ("ONNX", exported.onnx_file)):
            words = [*settings, f"evaluate.checkpoint={checkpoint}"]
            scored: Any = tao_like.run("pointpillars", "evaluate", SPEC, words)
            for name, figures in scored.report["details"]["per_class"].items():
                values = [f"{100 * (figures[kind]['AP_R40'] or 0.0):.2f}" for kind in ("bev", "3d")]
                rows.append([what, name, figures["objects"], *values, f"{trained.report['seconds']:.0f}"])
    rows.append([f"{os.cpu_count()} processors", *[""] * (len(HEADER) - 1)])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
