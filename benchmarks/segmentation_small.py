"""A small set of photos with masks: mIoU of a network, of half of it, and of that in int8.

Data: a folder with `images/{train,val}` and `masks/{train,val}` (CamVid: 48 and 26 street photos of 11
classes; or what `tao-like samples shapes_scenes` writes). The network is trained by the shipped
specs/segmentation/small_data.yaml, pruned to half of its arithmetic, trained again with the whole network as
its teacher, exported and quantized. mIoU is that of the last epoch on val, pooled over all pixels at the
photos' size; val chose nothing. Latency is the median of a photo of the exported files, by onnxruntime with
`--threads`. Photos smaller than twice the spec's crop are learnt from whole.

    python benchmarks/segmentation_small.py CAMVID --threads 2

Seeds can be measured one by one: rows of others stay in the CSV file.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image

import tao_like
from tao_like.config import load_spec
from tao_like.config.shipped import shipped_specs
from tao_like.tasks.segmentation.spec import Spec

SPEC = shipped_specs() / "segmentation" / "small_data.yaml"
FIELDS = (
    *("data", "seed", "form", "mIoU", "pixel_accuracy", "boundary_iou", "bytes"),
    *("latency_ms", "minutes", "cpu_minutes", "ious"),
)
MULTIPLE = 32
WHOLE = ("dataset.augmentation.with_scale_random_crop={scale_range: [0.5, 1.0]}",)
RUNS = 40
"""Of a photo, for latency."""


def settings(data: Path, epochs: int, seed: int, results: Path) -> list[str]:
    """What differs from the shipped spec: the data and the photos' size."""
    first = min((data / "images" / "train").iterdir())
    with Image.open(first) as photo:
        width, height = (-(-side // MULTIPLE) * MULTIPLE for side in photo.size)
    crop = load_spec(Spec, SPEC).spec.dataset.augmentation.train_crop_size
    whole = ["dataset.augmentation.train_crop_size=[]", *WHOLE] if width < 1.8 * crop[1] else []
    return [
        *whole,
        f"dataset.train_dataset={{images_dir: '{data}/images/train', masks_dir: '{data}/masks/train'}}",
        f"dataset.val_dataset={{images_dir: '{data}/images/val', masks_dir: '{data}/masks/val'}}",
        f"dataset.classes_file={data / 'classes.txt'}",
        f"dataset.img_size={width}",
        f"dataset.img_height={height}",
        "dataset.workers=0",
        f"train.num_epochs={epochs}",
        f"train.validation_interval={epochs}",
        f"train.seed={seed}",
        "train.accelerator=cpu",
        "train.tensorboard.enabled=false",
        "quantize.max_drop=1",
        f"results_dir={results}",
    ]


def measure(data: Path, epochs: int, again: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the whole network, of half of it, and of that in int8."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        words = settings(data, epochs, seed, results)

        def run(stage: str, *more: str) -> Any:
            return tao_like.run("segmentation", stage, SPEC, [*words, *more], quiet=True)

        def add(form: str, path: Path, began: tuple[float, float]) -> None:
            spent = [(now - then) / 60 for now, then in zip(clocks(), began, strict=True)]
            found = run("evaluate", f"evaluate.checkpoint={path}", "evaluate.split=val").report
            ious = {name: one["iou"] for name, one in found["details"]["per_class"].items()}
            rows.append(
                {
                    "data": data.name,
                    "seed": seed,
                    "form": form,
                    **{name: f"{found['metrics'][name]:.4f}" for name in FIELDS[3:6]},
                    "bytes": path.stat().st_size,
                    "latency_ms": latency(path) if path.suffix == ".onnx" else "",
                    "minutes": f"{spent[0]:.1f}",
                    "cpu_minutes": f"{spent[1]:.1f}",
                    "ious": " ".join(f"{name} {iou:.3f}" for name, iou in ious.items() if iou is not None),
                }
            )
            print(rows[-1], flush=True)

        began = clocks()
        whole = run("train").bundle
        add("trained", whole, began)
        began = clocks()
        add("its ONNX file", run("export", f"export.checkpoint={whole}").onnx_file, began)
        began = clocks()
        # One cut to the half costs more than four small ones with training in between.
        cut = [f"prune.checkpoint={whole}", "prune.target_macs=0.5", "prune.steps=4"]
        pruned = run("prune", *cut).bundle
        retrain = [
            f"train.pruned_model_path={pruned}",
            f"train.distill.teacher_model_path={whole}",
            f"train.num_epochs={again}",
            f"train.validation_interval={again}",
            f"results_dir={results / 'again'}",
        ]
        half = run("train", *retrain).bundle
        add("pruned to half", half, began)
        began = clocks()
        exported = run("export", f"export.checkpoint={half}").onnx_file
        add("its ONNX file, pruned", exported, began)
        began = clocks()
        quantized = run("quantize", f"quantize.checkpoint={exported}").onnx_file
        add("that in int8", quantized, began)
    return rows


def latency(path: Path) -> str:
    """Milliseconds for a photo, the median, with as many threads as the training."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    pixels = np.zeros((1, *given.shape[1:]), np.uint8)
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        session.run(None, {given.name: pixels})
        times.append(1000 * (time.perf_counter() - began))
    return f"{statistics.median(times[RUNS // 4 :]):.1f}"


def clocks() -> tuple[float, float]:
    """Wall and CPU seconds."""
    return time.monotonic(), time.process_time()


def main() -> None:
    """Writes the table."""
    way = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=way)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--again", type=int, default=30, help="epochs after pruning")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = options.data.resolve()
    for seed in options.seeds:
        new = measure(data, options.epochs, options.again, seed)
        rows = [
            row for row in written(options.output) if (row["data"], row["seed"]) != (data.name, str(seed))
        ]
        with options.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows([*rows, *new])


def written(path: Path) -> list[dict[str, Any]]:
    """The rows of an earlier run."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
