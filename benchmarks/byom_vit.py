"""A vision transformer as timm has it and from its ONNX file: pruned and trained again, both must be alike.

    python benchmarks/byom_vit.py HYMENOPTERA --seeds 3      # rows that benchmarks/byom_vit.csv lacks

HYMENOPTERA has class folders below train and val. vit_tiny_patch16_224 at 96 pixels starts from the same
random weights both times: as timm's network, and as the file that torch's tracing exporter writes of it. Each
is trained, pruned to 60 % of its multiply-accumulates and trained again, by the same recipe. Accuracies are
those of the last epoch on val. The new heads are drawn apart, so that two rows of a seed differ by chance
too; tests/byom/test_transformers.py gives both the same head. How long a step and a forward pass take is in
byom_speed.csv.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import tao_like
from tao_like.bundle import write_bundle
from tao_like.byom.importing import import_file, to_bundle
from tao_like.networks import _torchvision  # noqa: F401

# isort: split
import timm

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = (
    *("network", "seed", "accuracy", "parameters", "macs_share", "pruned_parameters"),
    *("pruned_accuracy", "cpu_seconds"),
)
NAME, SIDE, MACS = "vit_tiny_patch16_224", 96, 0.6
RECIPE = ("train.optim.lr=3e-4", "train.optim.warmup_epochs=1", "train.keep=last", "dataset.batch_size=16")


def write_starts(folder: Path, seed: int) -> dict[str, list[str]]:
    """The same network twice, as the overrides that name it."""
    torch.manual_seed(seed)
    network = timm.create_model(NAME, num_classes=2, img_size=SIDE).eval()
    save_file(network.state_dict(), folder / "native.safetensors")
    torch.onnx.export(
        network,
        (torch.rand(2, 3, SIDE, SIDE),),
        folder / "vit.onnx",
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )
    write_bundle(folder / "imported.tltb", to_bundle(import_file(folder / "vit.onnx"), classes=[]))
    key = "model.backbone.pretrained_backbone_path"
    return {
        "native": [f"model.backbone.type={NAME}", f"{key}={folder / 'native.safetensors'}"],
        "imported": ["model.backbone.type=byom", f"{key}={folder / 'imported.tltb'}"],
    }


def measure(folder: Path, words: list[str], seed: int, epochs: int, data: list[str]) -> dict[str, Any]:
    """One network trained, pruned and trained again."""

    def run(stage: str, name: str, *overrides: str) -> Any:
        given = [f"results_dir={folder / name}", f"dataset.img_size={SIDE}", *data, *words, *overrides]
        return tao_like.run("classification", stage, None, given, quiet=True)

    settings = [
        *RECIPE,
        f"train.num_epochs={epochs}",
        f"train.seed={seed}",
        "train.tensorboard.enabled=false",
    ]
    start = _cpu_seconds()
    first = run("train", "first", *settings)
    cut = run("prune", "pruned", f"prune.checkpoint={first.bundle}", f"prune.target_macs={MACS}")
    again = run("train", "again", *settings, f"train.pruned_model_path={cut.bundle}")
    return {
        "accuracy": round(first.metrics["accuracy"], 4),
        "parameters": cut.report["parameters"]["before"],
        "macs_share": round(cut.report["macs_share"], 4),
        "pruned_parameters": cut.report["parameters"]["after"],
        "pruned_accuracy": round(again.metrics["accuracy"], 4),
        "cpu_seconds": round(_cpu_seconds() - start),
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Goes through seeds and networks, and writes the table, which is whole after every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = [f"dataset.{split}_dataset.images_dir={options.photos / split}" for split in ("train", "val")]
    data += ["dataset.workers=0", "dataset.cache=ram", "train.accelerator=cpu"]
    rows: list[dict[str, Any]] = []
    if options.output.exists():
        with options.output.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    for seed in range(options.seeds):
        for network in ("native", "imported"):
            if any((row["network"], int(row["seed"])) == (network, seed) for row in rows):
                continue
            with tempfile.TemporaryDirectory() as place:
                words = write_starts(Path(place), seed)[network]
                found = measure(Path(place), words, seed, options.epochs, data)
            rows.append({"network": network, "seed": seed, **found})
            print(rows[-1], flush=True)
            with options.output.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
