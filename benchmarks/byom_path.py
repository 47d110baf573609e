"""Files of other people along the whole path: converted, trained, exported, pruned, quantized, run.

    python benchmarks/byom_path.py                          # rows that benchmarks/byom_path.csv lacks
    python benchmarks/byom_path.py "hf ViT" --exporters trace --again

Networks of timm and transformers with random weights (byom_sources.py), each written by both exporters of
torch, for one sample and for any number. `batch_1` to `batch_3` are differences of the converted network to
onnxruntime
on the file, as fractions of the output's scale; `other_size` is that at another side, where the source is
open. Then a classifier of two classes is trained for one epoch on 24 images of 32 or 64 pixels; `exported`,
`pruned`
and `int8` are the largest differences that these stages report (int8: of probabilities, after one epoch on 24
images), `macs` what pruning to 0.8 has left, `runtime` the difference of tao_like.runtime's probabilities
to those of evaluate. Last both files are compared. `problem` names the first stage that failed, and why.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from byom_sources import CNN_VARIANTS, CNNS, SOURCES, VARIANTS, Source, exported
from PIL import Image

import tao_like
from tao_like import runtime
from tao_like.bundle import write_bundle
from tao_like.byom.importing import ImportResult, import_file, to_bundle
from tao_like.byom.proof.comparison import session

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = (
    *(
        "source",
        "exporter",
        "opset",
        "batch",
        "size",
        "converted",
        "batch_1",
        "batch_2",
        "batch_3",
        "other_size",
    ),
    *(
        "trained",
        "exported",
        "macs",
        "pruned",
        "pruned_exported",
        "int8",
        "runtime",
        "cpu_seconds",
        "problem",
    ),
)
BATCHES = (1, 2, 3)
_IMAGES = {"train": 12, "val": 6, "test": 6}
_COLORS = {"blue": (40, 60, 200), "red": (210, 50, 40)}


def write_images(folder: Path, side: int) -> list[str]:
    """Images of two classes, and the overrides that name them."""
    draw = np.random.default_rng(0)
    for split, count in _IMAGES.items():
        for name, color in _COLORS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 80, (side, side, 3)) + np.array(color) * 0.6
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return [f"dataset.{split}_dataset.images_dir={folder / split}" for split in _IMAGES]


def difference(result: ImportResult, file: Path, batch: int, side: int, *, one_by_one: bool) -> float:
    """Largest difference of a converted network to its file, as a fraction of the largest output."""
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))
    reference = session(onnx.load(file))
    name = reference.get_inputs()[0].name
    parts = images.split(1) if one_by_one else [images]
    expected = np.concatenate([reference.run(None, {name: part.numpy()})[0] for part in parts])
    with torch.inference_mode():
        given = result.imported.module(images).numpy()
    return float(np.abs(given - expected).max() / np.abs(expected).max())


def stages(row: dict[str, Any], bundle: Path, folder: Path, side: int) -> None:
    """The bundle through every stage; each fills its columns of the row."""
    common = [*write_images(folder / "pictures", side), f"dataset.img_size={side}", "dataset.batch_size=8"]
    common += ["dataset.workers=0", "train.num_epochs=1", "train.accelerator=cpu", "train.optim.lr=1e-3"]
    common += ["train.tensorboard.enabled=false", "model.backbone.type=byom"]
    common.append(f"model.backbone.pretrained_backbone_path={bundle}")

    def run(stage: str, name: str, *overrides: str) -> Any:
        given = [*common, f"results_dir={folder / name}", *overrides]
        row["problem"] = stage
        return tao_like.run("classification", stage, None, given, quiet=True)

    trained = run("train", "a")
    row["trained"] = f"{trained.metrics['accuracy']:.2f}"
    evaluated = run("evaluate", "a")
    written = run("export", "a")
    row["exported"] = f"{written.report['largest_difference']:.1e}"
    cut = run(
        "prune", "b", f"prune.checkpoint={trained.bundle}", "prune.target_macs=0.8", "prune.granularity=2"
    )
    row["macs"] = f"{cut.report['macs_share']:.2f}"
    row["pruned"] = f"{cut.report['largest_difference']:.1e}"
    run("train", "c", f"train.pruned_model_path={cut.bundle}")
    smaller = run("export", "c")
    row["pruned_exported"] = f"{smaller.report['largest_difference']:.1e}"
    checkpoint = f"quantize.checkpoint={smaller.onnx_file}"
    whole = run("quantize", "d", checkpoint, "quantize.max_drop=1")
    models = f"compare.checkpoints=['{smaller.onnx_file}','{whole.onnx_file}']"
    row["int8"] = f"{whole.report['largest_difference']:.1e}"
    run("compare", "e", models, "compare.rounds=1")
    row["problem"] = "runtime"
    with evaluated.predictions.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    model = runtime.load(written.onnx_file)
    row["runtime"] = f"{worst_probability(model, lines, folder / 'pictures'):.1e}"
    row["problem"] = ""


def worst_probability(model: Any, lines: list[dict[str, str]], images: Path) -> float:
    """The largest difference of probabilities by the runtime to those that evaluate has written."""
    worst = 0.0
    for line in lines[:4]:
        path = Path(line[next(iter(line))])
        path = path if path.is_absolute() else images / "test" / path
        prediction = model.predict(path)
        worst = max(worst, *(abs(p - float(line[f"p_{n}"])) for n, p in prediction.probabilities.items()))
    return worst


def measure(
    name: str, source: Source, exporter: str, opset: int, *, open_batch: bool, open_size: bool
) -> dict[str, Any]:
    """One file along the whole path."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row |= {"source": name, "exporter": exporter, "opset": opset, "batch": "open" if open_batch else "1"}
    row |= {"size": "open" if open_size else str(source.side), "problem": "export of the source"}
    start = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "source.onnx"
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                file.write_bytes(
                    exported(source, exporter, opset, open_batch=open_batch, open_size=open_size)
                )
                row["problem"] = "convert"
                result = import_file(file, size=(source.side, source.side))
                row["converted"] = f"{result.largest_difference:.1e}"
                for batch in BATCHES:
                    row["problem"] = f"batch {batch}"
                    found = difference(result, file, batch, source.side, one_by_one=not open_batch)
                    row[f"batch_{batch}"] = f"{found:.1e}"
                if open_size:
                    row["problem"] = "another size"
                    row["other_size"] = f"{difference(result, file, 2, source.other, one_by_one=False):.1e}"
                write_bundle(folder / "new.tltb", to_bundle(result, classes=[]))
                stages(row, folder / "new.tltb", folder, source.side)
        except Exception as error:  # a row says how far it came, whatever goes wrong
            text = " ".join(str(error).split())[:160]
            row["problem"] += f": {type(error).__name__}: {text}"
    row["cpu_seconds"] = f"{time.process_time() - start:.0f}"
    return row


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """What tells one row from the others."""
    return tuple(str(row[name]) for name in ("source", "exporter", "opset", "batch"))


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows that are there already."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        return {key_of(row): row for row in csv.DictReader(file)}


def put_row(path: Path, row: dict[str, Any]) -> None:
    """Writes a row into the table, in place of an older one of the same file; others may write beside."""
    with path.open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = read_rows(path) | {key_of(row): row}
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[key] for key in sorted(rows))


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, Source, str, int, bool]]:
    """The files that the options name, those that are told most by first."""
    for exporter, opset, is_open in VARIANTS:
        if exporter not in options.exporters or opset not in options.opsets:
            continue
        for name, source in SOURCES.items():
            if options.names and not any(part in name for part in options.names):
                continue
            if name in CNNS and (exporter, opset, is_open) not in CNN_VARIANTS:
                continue
            yield name, source, exporter, opset, is_open


def main() -> None:
    """Goes through the files that are not in the table yet, which is whole after every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of sources' names")
    parser.add_argument("--exporters", nargs="*", default=["trace", "dynamo"])
    parser.add_argument("--opsets", nargs="*", type=int, default=[17, 18, 20, 23])
    parser.add_argument("--again", action="store_true", help="also those that are in the table")
    parser.add_argument("--list", action="store_true", help="only name what would be measured")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, source, exporter, opset, is_open in wanted(options):
        key = (name, exporter, str(opset), "open" if is_open else "1")
        if key in read_rows(options.output) and not options.again:
            continue
        if options.list:
            print(*key, sep=" | ")
            continue
        is_sized = is_open and source.other > 0
        row = measure(name, source, exporter, opset, open_batch=is_open, open_size=is_sized)
        print(*row.values(), sep=" | ", flush=True)
        put_row(options.output, row)


if __name__ == "__main__":
    main()
