"""Detection with 205 training photos of blood cells (BCCD): the shipped spec for small data, on two cores.

Data: BCCD as its authors publish it (JPEGImages, Annotations, ImageSets/Main with train, val and test).
Choices are made on val; test is scored once, at the end, as a bundle and as an ONNX file.

    python benchmarks/detection_bccd.py BCCD
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import tao_like

SPEC = Path(__file__).parents[1] / "specs" / "detection" / "small_data.yaml"
FIGURES = ("mAP", "mAP50", "mAP75")
HEADER = ["what", "epoch", "seconds", *FIGURES]


def sources(data: Path) -> list[str]:
    """Overrides that name the three splits."""
    overrides = []
    for split in ("train", "val", "test"):
        names = data / "ImageSets" / "Main" / f"{split}.txt"
        folders = f"image_dir: '{data / 'JPEGImages'}', label_dir: '{data / 'Annotations'}'"
        overrides.append(f"dataset.{split}_data_sources=[{{{folders}, list_file: '{names}'}}]")
    return overrides


def curve(folder: Path) -> list[list[Any]]:
    """Epoch, seconds since the start and figures on val, from status.json."""
    rows: list[list[Any]] = []
    started = None
    for text in (folder / "status.json").read_text().splitlines():
        line = json.loads(text)
        when = datetime.fromisoformat(line["timestamp"])
        started = started or when
        if "epoch" in line and f"val_{FIGURES[0]}" in (line.get("kpi") or {}):
            figures = [f"{line['kpi'][f'val_{name}']:.4f}" for name in FIGURES]
            rows.append(["val", line["epoch"], f"{(when - started).total_seconds():.0f}", *figures])
    return rows


def main() -> None:
    """Trains, exports, scores test, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, help="keep the results here")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--val-only", action="store_true", help="do not look at test")
    parser.add_argument("overrides", nargs="*", help="key=value for the spec")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or Path(temporary)
        settings = [*sources(options.data), f"results_dir={results}", *options.overrides]
        trained: Any = tao_like.run("detection", "train", SPEC, settings)
        rows = curve(trained.folder)
        final = [f"{trained.metrics[name]:.4f}" for name in FIGURES]
        rows.append(["val, kept weights", "", f"{trained.report['seconds']:.0f}", *final])
        exported: Any = tao_like.run("detection", "export", SPEC, settings)
        if not options.val_only:
            for what, checkpoint in (("test, bundle", trained.bundle), ("test, ONNX", exported.onnx_file)):
                scored: Any = tao_like.run(
                    "detection", "evaluate", SPEC, [*settings, f"evaluate.checkpoint={checkpoint}"]
                )
                rows.append([what, "", "", *(f"{scored.metrics[name]:.6f}" for name in FIGURES)])
                for name, figures in scored.report["details"]["per_class"].items():
                    rows.append(
                        [f"{what}, {name}", "", "", f"{figures['AP']:.4f}", f"{figures['AP50']:.4f}", ""]
                    )
    rows.append([f"{os.cpu_count()} processors", "", "", "", "", ""])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
