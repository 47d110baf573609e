"""Where the time of a frame goes, in the full-size network of KITTI with random weights, in onnxruntime.

Parts are exported by themselves: points to the map from above, the convolutions, suppression. Random weights
find no object, so suppression is timed on answers of its own: heaps of overlapping boxes.

    python benchmarks/pointpillars_speed.py [FRAME.bin ...]
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from tao_like.contract.model import Exportable
from tao_like.runtime.inputs.points import Points, preprocess_points, read_points
from tao_like.samples.lidar_scenes import make_frame
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.lib.latency import measure_in_turns
from tao_like.tasks.pointpillars.model.build import make_network
from tao_like.tasks.pointpillars.model.detector import PointPillars
from tao_like.tasks.pointpillars.model.for_export import selected
from tao_like.tasks.pointpillars.spec import Spec
from tao_like.tasks.pointpillars.task import PointPillarsTask

HEADER = ["frame", "points", "part", "median ms", "p95 ms", "share of the whole"]
OBJECTS = 40
SIZES = (17_000, 115_000)


class Pillars(nn.Module):
    """Points to the map from above."""

    def __init__(self, network: PointPillars) -> None:
        super().__init__()
        self.network = network

    def forward(self, points: Tensor) -> Tensor:
        """(N, 4) to (1, channels, H, W)."""
        return self.network.pillars(torch.cat([torch.zeros_like(points[:, :1]), points], dim=1), 1)


class Numbers(nn.Module):
    """Points to the ten numbers of each."""

    def __init__(self, network: PointPillars) -> None:
        super().__init__()
        self.network = network

    def forward(self, points: Tensor) -> Tensor:
        """(N, 4) to (N, 10)."""
        numbered = torch.cat([torch.zeros_like(points[:, :1]), points], dim=1)
        return self.network.pillars.describe(numbered, 1)[0]


class Convolutions(nn.Module):
    """The map to what is said of the anchors."""

    def __init__(self, network: PointPillars) -> None:
        super().__init__()
        self.network = network

    def forward(self, canvas: Tensor) -> tuple[Tensor, ...]:
        """(1, channels, H, W) to logits, codes and directions."""
        return self.network.head(self.network.backbone(canvas))


class Predictions(nn.Module):
    """Decoded boxes and scores to what is kept."""

    def __init__(self, task: PointPillarsTask) -> None:
        super().__init__()
        self.selection = task.predictions.selection

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        """(A, 7) and (A, classes) to the selection."""
        return selected(boxes, scores, self.selection)


def session(
    module: nn.Module, inputs: tuple[Tensor, ...], outputs: int, *, is_open: bool
) -> Callable[..., Any]:
    """A module in onnxruntime, as a call that takes arrays."""
    names = [f"x{number}" for number in range(len(inputs))]
    exportable = Exportable(
        module.eval(),
        {name: {0: "n"} if is_open else {} for name in names},
        {f"y{number}": {} for number in range(outputs)},
        {},
        lambda given: given,
    )
    proto, _ = to_onnx(exportable, inputs, dynamic=is_open, opset=18)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    run = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda *values: run.run(None, dict(zip(names, values, strict=True)))


def frames(paths: list[Path], task: PointPillarsTask) -> dict[str, Points]:
    """Frames by name: made ones of about the sizes of KITTI's cropped and whole frames, and those given."""
    made = np.concatenate([make_frame(np.random.default_rng(number))[0] for number in range(14)])
    by_size = {f"made, {size}": made[:: max(1, len(made) // size)][:size] for size in SIZES}
    return by_size | {path.name: read_points(path, task.data.preprocessing) for path in paths}


def heaps(network: PointPillars) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of all anchors as a trained network gives them: heaps of boxes around some objects."""
    random = np.random.default_rng(0)
    boxes = network.anchors.reshape(-1, 7).numpy().copy()
    scores = np.full((len(boxes), 3), 0.01, np.float32)
    for place in random.choice(len(boxes), OBJECTS, replace=False):
        near = np.flatnonzero(np.hypot(*(boxes[:, :2] - boxes[place, :2]).T) < 1.0)
        boxes[near, :2] = boxes[place, :2] + random.normal(0, 0.2, (len(near), 2))
        scores[near, 0] = random.uniform(0.1, 0.9, len(near))
    return boxes, scores


def main() -> None:
    """Measures every part in turns with the whole, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    torch.manual_seed(0)
    task = PointPillarsTask(Spec())
    network = make_network(task.spec).eval()
    given = {
        name: preprocess_points(one, task.data.preprocessing)
        for name, one in frames(options.frames, task).items()
    }
    example = torch.from_numpy(next(iter(given.values())))
    boxes, scores = heaps(network)
    with torch.inference_mode():
        canvas = Pillars(network)(example)
    predictions = (torch.from_numpy(boxes), torch.from_numpy(scores))
    whole = session(task.exports(network, "points")["model"].module, (example,), 4, is_open=True)
    pillars = session(Pillars(network), (example,), 1, is_open=True)
    numbers = session(Numbers(network), (example,), 1, is_open=True)
    convolutions = session(Convolutions(network), (canvas,), 3, is_open=False)
    suppression = session(Predictions(task), predictions, 4, is_open=False)
    rows: list[list[Any]] = []
    for name, points in given.items():
        (maps,) = pillars(points)
        calls = {
            "whole": lambda points=points: whole(points),
            "points to ten numbers": lambda points=points: numbers(points),
            "points to the map": lambda points=points: pillars(points),
            "convolutions": lambda maps=maps: convolutions(maps),
            f"suppression, {OBJECTS} objects": lambda: suppression(boxes, scores),
        }
        times = measure_in_turns(calls, rounds=options.rounds)
        for part, one in times.items():
            fraction = one.median_ms / times["whole"].median_ms
            rows.append(
                [name, len(points), part, f"{one.median_ms:.1f}", f"{one.p95_ms:.1f}", f"{fraction:.3f}"]
            )
    rows.append([f"{os.cpu_count()} processors", *[""] * (len(HEADER) - 1)])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
