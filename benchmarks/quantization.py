"""What int8 costs and gains: accuracy on photos of ants and bees, and speed over fp32.

python benchmarks/quantization.py PHOTOS --seeds 3

PHOTOS holds train and val with a folder a class. EfficientNet-Lite0 is trained with the spec that `init`
writes, once a seed, and scored on val in fp32 and in int8, with weights of 8 and of 7 bits.
`quantize.max_drop` is 1, so that no layer is chosen by the data that the figures are quoted for. Speed:
networks with random weights at 224 pixels, one image a call, in turns; beside the stage's graph also that
of onnxruntime's quantize_static with its own defaults (int8 between the layers, in place of uint8).
"""

from __future__ import annotations

import argparse
import csv
import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_static

import tao_like
from tao_like.contract.model import Exportable
from tao_like.networks.backbones.build import create_backbone
from tao_like.runtime.session import open_session
from tao_like.stages.lib.graphs.folding import folded
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.lib.latency import measure_in_turns
from tao_like.stages.lib.processor import this_processor
from tao_like.stages.quantize.calibration import calibrate
from tao_like.stages.quantize.convert import to_int8, watched_tensors
from tao_like.stages.quantize.plan import make_plan
from tao_like.tasks.classification.init import write_spec
from tao_like.tasks.classification.model import ClassificationNetwork, ClassifierForExport

HEADER = ["what", "seed_or_threads", "variant", "value", "unit"]
FORMS_OF_WEIGHTS = (("minmax", "vnni"), ("entropy", "vnni"), ("percentile", "vnni"), ("minmax", "any"))
"""Algorithm and target: weights of 8 bits by each algorithm, and of 7 bits."""
NETWORKS = ("resnet50", "tf_efficientnet_lite0", "vit_small_patch16_224")
SIDE = 224


def accuracies(photos: Path, seeds: int, folder: Path) -> list[list[Any]]:
    """Trains once a seed, and scores fp32 and int8 by each algorithm."""
    spec = folder / "spec.yaml"
    write_spec(photos, spec, force=False)
    rows: list[list[Any]] = []
    found: dict[str, list[float]] = {}

    def note(seed: int, variant: str, value: float) -> None:
        found.setdefault(variant, []).append(value)
        rows.append(["accuracy of EfficientNet-Lite0", seed, variant, f"{value:.4f}", "share"])
        print(*rows[-1], flush=True)

    for seed in range(seeds):
        common = [f"results_dir={folder / f'seed{seed}'}", f"train.seed={seed}", "train.accelerator=cpu"]
        for stage in ("train", "export"):
            tao_like.run("classification", stage, spec, common, quiet=True)
        for algorithm, target in FORMS_OF_WEIGHTS:
            keys = [f"quantize.algorithm={algorithm}", f"quantize.target={target}", "quantize.max_drop=1"]
            result = tao_like.run("classification", "quantize", spec, [*common, *keys], quiet=True)
            if (algorithm, target) == FORMS_OF_WEIGHTS[0]:
                note(seed, "fp32", result.float_metrics["accuracy"])
                rows.append(["size", seed, "fp32", result.report["bytes_fp32"], "bytes"])
                rows.append(["size", seed, "int8", result.report["bytes"], "bytes"])
            bits = ", weights of 7 bits" if target == "any" else ""
            note(seed, f"int8 {algorithm}{bits}", result.metrics["accuracy"])
    for variant, values in found.items():
        rows.append(["mean accuracy", "", variant, f"{statistics.mean(values):.4f}", "share"])
        print(*rows[-1], flush=True)
    return rows


class _Reader(CalibrationDataReader):
    """Some images of noise."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Any:
        return next(self.feeds, None)


def graphs(name: str, folder: Path) -> dict[str, Path]:
    """Writes a network as fp32 and in the forms of int8."""
    torch.manual_seed(0)
    backbone = create_backbone(name, num_classes=1000, img_size=SIDE, drop_rate=0.0, drop_path_rate=0.0)
    network = ClassificationNetwork(backbone, (0.5,) * 3, (0.5,) * 3)
    module = ClassifierForExport(network, "uint8_nhwc", multi_label=False).eval()
    exportable = Exportable(
        module,
        {"image": {0: "batch"}},
        {"probabilities": {0: "batch"}},
        {},
        lambda preprocessed: (preprocessed,),
    )
    example = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    exported, _ = to_onnx(exportable, (example,), dynamic=True, opset=18)
    graph = folded(exported)
    noise = np.random.default_rng(0)
    feeds = [{"image": noise.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)} for _ in range(4)]
    plan = make_plan(graph, [], {})
    ranges = calibrate(graph, watched_tensors(graph, plan), lambda: feeds, "minmax", 100)
    paths = {form: folder / f"{name}_{number}.onnx" for number, form in enumerate(FORMS)}
    onnx.save(exported, paths["fp32"])
    onnx.save(to_int8(graph, plan, ranges, reduce_range=False), paths["int8"])
    onnx.save(to_int8(graph, plan, ranges, reduce_range=True), paths["int8, weights of 7 bits"])
    logging.disable(logging.WARNING)
    quantize_static(paths["fp32"], paths["int8, onnxruntime's defaults"], _Reader(feeds))
    logging.disable(logging.NOTSET)
    return paths


FORMS = ("fp32", "int8", "int8, weights of 7 bits", "int8, onnxruntime's defaults")


def speeds(folder: Path, rounds: int, threads: list[int]) -> list[list[Any]]:
    """Median latencies of each network and form, all forms of a network in turns."""
    rows: list[list[Any]] = []
    pixels = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    for name in NETWORKS:
        paths = graphs(name, folder)
        for count in threads:
            sessions = {form: open_session(path, threads=count) for form, path in paths.items()}
            calls = {
                form: lambda session=session: session.run(None, {"image": pixels})
                for form, session in sessions.items()
            }
            times = measure_in_turns(calls, rounds=rounds)  # type: ignore[arg-type]
            for form, latency in times.items():
                ratio = times["fp32"].median_ms / latency.median_ms
                rows.append([f"latency of {name}", count, form, f"{latency.median_ms:.2f}", "ms, median"])
                rows.append([f"latency of {name}", count, form, f"{latency.p95_ms:.2f}", "ms, p95"])
                rows.append([f"speed of {name}", count, form, f"{ratio:.2f}", "times fp32"])
                print(name, f"{count} threads", form, f"{latency.median_ms:.2f} ms, {ratio:.2f}", flush=True)
    return rows


def main() -> None:
    """Runs both parts and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="0: no training, speed alone")
    parser.add_argument("--rounds", type=int, default=60, help="0: no speed, accuracy alone")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    processor = this_processor()
    print(processor.text(), flush=True)
    rows: list[list[Any]] = [["processor", "", processor.text(), "", ""]]
    with tempfile.TemporaryDirectory() as name:
        if options.rounds:
            rows += speeds(Path(name), options.rounds, options.threads)
        if options.seeds:
            rows += accuracies(options.photos, options.seeds, Path(name))
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
