"""Detection with 205 training photos of blood cells (BCCD): trained, pruned, taught again, and in int8.

Data: BCCD as its authors publish it (JPEGImages, Annotations, ImageSets/Main with train, val and test).
Choices are made on val; test is scored at the end: the trained network as a bundle and as an ONNX file, the
pruned one, and that in int8, side by side by `compare`. The CSV has the training's curve on val too.

    python benchmarks/detection_bccd.py BCCD
    python benchmarks/detection_bccd.py BCCD --retinanet     # RetinaNet alone; adds its rows to the CSV
    python benchmarks/detection_bccd.py BCCD --quick         # two steps of everything, to see that it runs
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
HEADER = ["what", "epoch", "seconds", *FIGURES, "MACs", "parameters", "bytes", "median_ms"]
FRACTION = 0.6
"""Of the multiply-accumulates, after pruning."""
PRUNE = (f"prune.target_macs={FRACTION}", "prune.steps=3", "prune.epochs_per_step=1")
# What was cut answers wildly at first: small steps, and none that is too large.
AGAIN = ("train.optim.lr=5e-4", "train.optim.lr_backbone=3e-4", "train.clip_grad_norm=10")
RETINANET = (
    "model.arch=retinanet",
    "model.neck.width=128",
    "train.optim.lr=5e-4",
    "train.clip_grad_norm=1",
)
QUICK = (
    "train.num_epochs=1",
    "train.max_steps=2",
    "train.validation_interval=1",
    "dataset.augmentation.plain_epochs=1",
    "dataset.img_size=96",
    "dataset.img_height=96",
    "dataset.batch_size=2",
    "dataset.cache=none",
    "prune.steps=1",
    "prune.criterion_samples=4",
    "quantize.num_samples=4",
    "quantize.max_drop=1",
    "compare.rounds=3",
)


def sources(data: Path) -> list[str]:
    """Overrides that name the three splits."""
    overrides = []
    for split in ("train", "val", "test"):
        names = data / "ImageSets" / "Main" / f"{split}.txt"
        folders = f"image_dir: '{data / 'JPEGImages'}', label_dir: '{data / 'Annotations'}'"
        overrides.append(f"dataset.{split}_data_sources=[{{{folders}, list_file: '{names}'}}]")
    return overrides


def run(stage: str, settings: list[str], *more: str) -> Any:
    """A stage of detection by the shipped spec; what is given last wins."""
    return tao_like.run("detection", stage, SPEC, [*settings, *more])


def figures(metrics: dict[str, float]) -> list[str]:
    """The figures of the table, to four places."""
    return [f"{metrics[name]:.4f}" for name in FIGURES]


def curve(what: str, folder: Path) -> list[list[Any]]:
    """Epoch, seconds since the start and figures on val, from status.json."""
    rows: list[list[Any]] = []
    started = None
    for text in (folder / "status.json").read_text().splitlines():
        line = json.loads(text)
        when = datetime.fromisoformat(line["timestamp"])
        started = started or when
        if "epoch" in line and f"val_{FIGURES[0]}" in (line.get("kpi") or {}):
            found = {name: line["kpi"][f"val_{name}"] for name in FIGURES}
            seconds = f"{(when - started).total_seconds():.0f}"
            rows.append([f"{what}, val", line["epoch"], seconds, *figures(found)])
    return rows


def trained(what: str, settings: list[str], *more: str) -> tuple[Any, list[list[Any]]]:
    """Trains, and gives the rows of the curve and of the kept weights."""
    result = run("train", settings, *more)
    rows = curve(what, result.folder)
    rows.append(
        [f"{what}, val, kept weights", "", f"{result.report['seconds']:.0f}", *figures(result.metrics)]
    )
    return result, rows


def on_test(name: str, checkpoint: Path, settings: list[str]) -> list[list[Any]]:
    """The figures of a model on test, and those of each class."""
    scored = run("evaluate", settings, f"evaluate.checkpoint={checkpoint}")
    rows: list[list[Any]] = [[f"{name}, test", "", "", *(f"{scored.metrics[one]:.6f}" for one in FIGURES)]]
    for label, each in scored.report["details"]["per_class"].items():
        rows.append([f"{name}, test, {label}", "", "", f"{each['AP']:.4f}", f"{each['AP50']:.4f}", ""])
    return rows


def smaller(settings: list[str], results: Path, teacher: Path, again: list[str]) -> tuple[list[Path], Any]:
    """Prunes, trains again with the unpruned network as teacher, and makes int8: the files, and the curve."""
    pruned = run("prune", settings, f"prune.checkpoint={teacher}", *PRUNE, *again)
    rows = (
        [["pruned, val, before training again", "", "", *figures(pruned.metrics)]] if pruned.metrics else []
    )
    learnt, taught = trained(
        "pruned",
        settings,
        f"results_dir={results / 'pruned'}",
        f"train.pruned_model_path={pruned.bundle}",
        f"train.distill.teacher_model_path={teacher}",
        *AGAIN,
        *again,
    )
    quantized = run("quantize", settings, f"quantize.checkpoint={learnt.bundle}", *again)
    return [learnt.bundle, quantized.onnx_file], rows + taught


def compared(settings: list[str], files: list[Path], names: list[str]) -> list[list[Any]]:
    """All models on test, side by side."""
    quoted = ",".join(f"'{file}'" for file in files)
    table = run("compare", settings, f"compare.checkpoints=[{quoted}]")
    return [
        [
            f"{name}, test, compare",
            "",
            "",
            *figures(row["metrics"]),
            row["macs"],
            row["parameters"],
            row["bytes"],
            f"{row['median_ms']:.2f}",
        ]
        for name, row in zip(names, table.rows, strict=True)
    ]


def write(path: Path, rows: list[list[Any]], *, after: bool) -> None:
    """Writes the rows, in the place of what the file has or after it."""
    with path.open("a" if after else "w", newline="") as file:
        writer = csv.writer(file)
        if not after:
            writer.writerow(HEADER)
        whole = [*rows, [f"{os.cpu_count()} processors"]]
        writer.writerows([*row, *[""] * (len(HEADER) - len(row))] for row in whole)


def yolox(settings: list[str], results: Path, again: list[str], *, val_only: bool) -> list[list[Any]]:
    """Trained and exported; then smaller twice, and all of them on test."""
    first, rows = trained("yolox", settings)
    exported = run("export", settings, f"export.checkpoint={first.bundle}")
    if val_only:
        return rows
    for name, file in (("yolox, bundle", first.bundle), ("yolox, ONNX", exported.onnx_file)):
        rows += on_test(name, file, settings)
    files, taught = smaller(settings, results, first.bundle, again)
    names = ["yolox", f"pruned to {FRACTION:.0%}, taught again", "the same in int8"]
    return rows + taught + compared(settings, [first.bundle, *files], names)


def retinanet(settings: list[str], results: Path, *, val_only: bool) -> list[list[Any]]:
    """RetinaNet over the same backbone."""
    beside = [*settings, f"results_dir={results / 'retinanet'}", *RETINANET]
    other, rows = trained("retinanet", beside)
    if not val_only:
        rows += on_test("retinanet, bundle", other.bundle, beside)
    return rows


def main() -> None:
    """Runs everything and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, help="keep the results here")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--val-only", action="store_true", help="train and export alone; do not look at test")
    parser.add_argument("--retinanet", action="store_true", help="RetinaNet over the same backbone alone")
    parser.add_argument("--quick", action="store_true", help="two steps of everything, on small inputs")
    parser.add_argument(
        "--again", action="append", default=[], help="key=value for the training of the pruned network"
    )
    parser.add_argument("overrides", nargs="*", help="key=value for the spec")
    options = parser.parse_intermixed_args()
    quick = list(QUICK) if options.quick else []
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or Path(temporary)
        settings = [*sources(options.data), f"results_dir={results}", *options.overrides]
        if options.retinanet:
            rows = retinanet([*settings, *quick], results, val_only=options.val_only)
        else:
            again = [*options.again, *quick]
            rows = yolox([*settings, *quick], results, again, val_only=options.val_only)
        write(options.output, rows, after=options.retinanet)


if __name__ == "__main__":
    main()
