"""DALL-E and GLIDE on drawn shapes: what the shipped specs reach, attribute by attribute, and what it costs.

    python benchmarks/text_to_image_shapes.py --arch dalle --seeds 1
    python benchmarks/text_to_image_shapes.py --arch glide --seeds 1 train.num_epochs=40

Data: the sample shapes_captions (seed 0). Pairs of color and shape of the group `held_out` are in no training
file. The judge is that of `evaluate`: nearest real pictures, no training. One row a seed is added to the CSV.
CPU seconds are those of the process and its children, wall seconds those of the clock: on a machine that
others use too, the latter say little.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

import tao_like
from tao_like import runtime
from tao_like.config.shipped import shipped_spec_files
from tao_like.samples.shapes_captions import write_shapes_captions
from tao_like.stages.results import EvaluateResult, ExportResult, TrainResult
from tao_like.tasks.text_to_image.judge import Judge, words_of

RESULTS = Path(__file__).with_suffix(".csv")
ATTRIBUTES = ("shape", "color", "size", "place")
PAINTED = 60
"""Pictures whose middle part is painted anew."""


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(arch: str, seed: int, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Trains, scores and exports once; the row of the CSV."""
    data = write_shapes_captions(folder / "shapes")
    spec = shipped_spec_files()[f"text_to_image/shapes_{arch}"]
    words = [
        f"dataset.{split}_dataset.captions_file={data / split}.jsonl" for split in ("train", "val", "test")
    ]
    words += [f"results_dir={folder / arch / str(seed)}", f"train.seed={seed}", "train.accelerator=cpu"]
    words += ["train.tensorboard.enabled=false", *overrides]

    def stage(name: str, *more: str) -> Any:
        return tao_like.run("text_to_image", name, spec, [*words, *more], quiet=True)

    before, began = cpu_seconds(), time.monotonic()
    trained: TrainResult = stage("train")
    row: dict[str, Any] = {
        "arch": arch,
        "seed": seed,
        "settings": " ".join(overrides),
        "parameters": trained.report["parameters"],
        "train_cpu_s": round(cpu_seconds() - before),
        "train_wall_s": round(time.monotonic() - began),
    }
    if arch == "dalle":
        first = trained.report["phases"][0]["metrics"]
        row |= {f"dvae_{name}": round(first[name], 3) for name in ("psnr", "codes_used", "accuracy", "shape")}
    sweep = "evaluate.guidance=[0,1,3]" if arch == "glide" else "evaluate.guidance=[1,3]"
    scored: EvaluateResult = stage("evaluate", sweep)
    groups = scored.report["details"]["groups"]
    for group in ("trained", "held_out"):
        values = groups[group]
        row |= {f"{group}_{name}": round(values[name], 3) for name in ("accuracy", *ATTRIBUTES, "all_right")}
    row |= {name: round(scored.metrics[name], 3) for name in ("caption_swap", "diversity", "ffd")}
    for name, values in scored.report["variants"].items():
        row[name] = round(values["accuracy"], 3)
    exported: ExportResult = stage("export")
    row["export_difference"] = f"{exported.difference:.1e}"
    model = runtime.load(exported.onnx_file)
    began = time.process_time()
    model.generate(["a small red circle in the middle"] * 4)
    row["runtime_cpu_s_a_picture"] = round((time.process_time() - began) / 4, 3)
    if arch == "glide":
        row |= painted(model, data)
    return row


def painted(model: Any, data: Path) -> dict[str, float]:
    """What is painted into a hole in an empty ground: accuracy inside, largest change outside."""
    from PIL import Image

    lines = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    attributes = {
        "shape": ["circle", "square", "triangle", "cross"],
        "color": ["red", "green", "blue", "yellow", "purple", "cyan"],
        "size": ["small", "large"],
    }
    pictures = np.stack([np.asarray(Image.open(data / line["image"])) for line in lines])
    judge = Judge(pictures, [line["captions"][0] for line in lines], attributes)
    side = pictures.shape[1]
    ground = np.full((side, side, 3), 128, np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 8 : -side // 8, side // 8 : -side // 8] = 255
    tests = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    captions = sorted({line["captions"][0] for line in tests if "middle" in line["captions"][0]})[:PAINTED]
    made = model.generate(captions, seed=0, image=ground, mask=mask)
    pixels = np.stack([one.pixels for one in made])
    found = judge(pixels)
    right = [
        found[number][name] == word
        for number, caption in enumerate(captions)
        for name, word in words_of(caption, attributes).items()
    ]
    outside = np.abs(pixels.astype(int) - 128)[:, mask == 0].max()
    return {"painted_accuracy": round(float(np.mean(right)), 3), "painted_outside": float(outside)}


def add(row: dict[str, Any]) -> None:
    """Adds a row to the CSV, whose columns grow with it."""
    rows: list[dict[str, Any]] = []
    if RESULTS.is_file():
        with RESULTS.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    rows.append(row)
    columns = list(dict.fromkeys(name for one in rows for name in one))
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--arch", choices=("dalle", "glide"), required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("results/text_to_image_shapes"))
    parser.add_argument("overrides", nargs="*", help="key=value for every stage")
    given = parser.parse_args()
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        row = run(given.arch, seed, given.folder, given.overrides)
        print(json.dumps(row), flush=True)
        add(row)


if __name__ == "__main__":
    main()
