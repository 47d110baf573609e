"""Time of the runtime's call on preprocessed images against a bare onnxruntime session, in turns.

python benchmarks/runtime_overhead.py MODEL.onnx --pairs 200
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tao_like.runtime import load


def milliseconds(call: Callable[[], Any]) -> float:
    """Milliseconds of a call."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Runs the comparison and writes its CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    model = load(options.model)
    session = onnxruntime.InferenceSession(str(options.model), providers=["CPUExecutionProvider"])
    size = (model.preprocessing.height, model.preprocessing.width, 3)
    rows = []
    for batch in (1, 8):
        pixels = np.random.default_rng(0).integers(0, 256, (batch, *size), dtype=np.uint8)
        sides: dict[str, Callable[[], Any]] = {
            "runtime": lambda pixels=pixels: model.run_preprocessed(pixels),  # type: ignore[misc]
            "bare": lambda pixels=pixels: session.run(None, {"image": pixels}),  # type: ignore[misc]
        }
        for call in sides.values():
            for _ in range(10):
                call()
        taken = {name: [] for name in sides}  # type: ignore[var-annotated]
        for pair in range(options.pairs):
            for name in list(sides) if pair % 2 else list(sides)[::-1]:
                taken[name].append(milliseconds(sides[name]))
        ratio = np.median(np.array(taken["runtime"]) / np.array(taken["bare"]))
        medians = [float(np.median(taken[name])) for name in sides]
        rows.append([batch, *(f"{value:.3f}" for value in medians), f"{ratio:.4f}"])
        print(
            f"batch {batch}: runtime {medians[0]:.2f} ms, bare {medians[1]:.2f} ms, median ratio {ratio:.3f}"
        )
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["batch", "runtime_ms", "bare_ms", "median_ratio"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
