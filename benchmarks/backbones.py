"""Train, export and evaluate for many of timm's architectures: a step each, tiny images, real stages.

Reads names and image sizes from backbone_names.csv (100 and more names of 25 and more families, at
most 8 of one). Each runs through the stages as a user would run them, and its ONNX file must give the
answers of the bundle. Each has a process of its own; one that fails costs its own row.

    python benchmarks/backbones.py                 all, into backbones.csv
    python benchmarks/backbones.py resnet18 ...    only these
"""

from __future__ import annotations

import csv
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
COLUMNS = (
    "name",
    "family",
    "image_size",
    "parameters",
    "train",
    "export",
    "evaluate",
    "difference",
    "seconds",
    "problem",
)
CLASSES = ("blue", "green", "red")
SECONDS_ALLOWED = 600


def write_images(folder: Path) -> None:
    """Noise in three colors, as class folders for training and validation."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number, name in enumerate(CLASSES):
            target = folder / split / name
            target.mkdir(parents=True)
            for image in range(count):
                pixels = generator.integers(0, 80, (80, 80, 3), dtype=np.uint8)
                pixels[..., 2 - number] += 150
                Image.fromarray(pixels).save(target / f"{image}.png")


def run_stages(row: dict[str, str], data: Path, results_queue: Any) -> None:
    """Runs the stages on one architecture and sends its row back."""
    import tao_like

    result: dict[str, Any] = {"name": row["name"], "family": row["family"], "image_size": row["image_size"]}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            f"results_dir={folder}",
            f"model.backbone.type={row['name']}",
            f"dataset.train_dataset.images_dir={data}/train",
            f"dataset.val_dataset.images_dir={data}/val",
            f"dataset.img_size={row['image_size']}",
            "dataset.batch_size=2",
            "dataset.workers=0",
            "train.max_steps=1",
            "train.num_epochs=1",
            "train.keep=last",
            "train.tensorboard.enabled=false",
            "evaluate.max_pictures=0",
        ]
        try:
            for stage in ("train", "export", "evaluate"):
                done: Any = tao_like.run("classification", stage, overrides=settings, quiet=True)
                result[stage] = "yes"
                if stage == "train":
                    result["parameters"] = done.report["parameters"]
                if stage == "export":
                    result["difference"] = f"{done.difference:.1e}"
                    settings.append(f"evaluate.checkpoint={done.onnx_file}")
        except Exception as error:  # Whatever goes wrong is this row's result.
            result[stage] = "no"
            result["problem"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    result["seconds"] = f"{time.perf_counter() - started:.1f}"
    results_queue.put(result)


def main() -> None:
    """Runs all architectures and writes the CSV."""
    wanted = set(sys.argv[1:])
    with (HERE / "backbone_names.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not wanted or row["name"] in wanted]
    # Each process is forked from this one, with torch and timm imported once.
    import tao_like.stages.evaluate
    import tao_like.stages.export
    import tao_like.stages.train
    import tao_like.tasks.classification.task  # noqa: F401

    context = multiprocessing.get_context("fork")
    results = []
    with tempfile.TemporaryDirectory() as name:
        write_images(Path(name))
        for row in rows:
            results_queue: Any = context.Queue()
            process = context.Process(target=run_stages, args=(row, Path(name), results_queue))
            process.start()
            process.join(SECONDS_ALLOWED)
            crashed = {
                "name": row["name"],
                "family": row["family"],
                "problem": "the process died or took too long",
            }
            results.append(results_queue.get(timeout=5) if not results_queue.empty() else crashed)
            process.kill()
            print(*(results[-1].get(column, "") for column in COLUMNS), flush=True)
    good = [result for result in results if not result.get("problem")]
    families = {result["family"] for result in good}
    print(f"{len(good)} of {len(results)} architectures of {len(families)} families")
    if not wanted:
        with (HERE / "backbones.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(results)


if __name__ == "__main__":
    main()
