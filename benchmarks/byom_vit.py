"""A vision transformer as timm has it and from its ONNX file: pruned and trained again, both must be alike.

    python benchmarks/byom_vit.py HYMENOPTERA                       # rows that benchmarks/byom_vit.csv lacks
    python benchmarks/byom_vit.py HYMENOPTERA --heads drawn --seeds 5 --again

HYMENOPTERA has class folders below train and val. vit_tiny_patch16_224 at 96 pixels starts from the same
random weights both times: as timm's network, and as the file that torch's tracing exporter writes of it. Each
is trained, pruned to 60 % of its multiply-accumulates and trained again, by the same recipe and with the same
preprocessing, which is part of both bundles. Accuracies are those of the last epoch on val. Where `head` is
`same`, the classifier too starts from the same weights, so that nothing but the form of the network differs;
where it is `drawn`, each training draws its own, and rows of a seed differ by chance too. How long a step and
a forward pass take is in byom_speed.csv.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import resource
import tempfile
from pathlib import Path
from typing import Any

import torch

import tao_like
from tao_like.bundle import Bundle, write_bundle
from tao_like.byom.importing import import_file, to_bundle
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.imported.backbone import IMAGENET

# isort: split
import timm

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = (
    *("network", "head", "seed", "epochs", "accuracy", "parameters", "macs_share", "pruned_parameters"),
    *("pruned_accuracy", "cpu_seconds"),
)
KEYS = ("network", "head", "seed", "epochs")
HEADS, NETWORKS = ("same", "drawn"), ("native", "imported")
NAME, SIDE, MACS = "vit_tiny_patch16_224", 96, 0.6
RECIPE = ("train.optim.lr=3e-4", "train.optim.warmup_epochs=1", "train.keep=last", "dataset.batch_size=16")


def write_starts(folder: Path, seed: int, classes: list[str]) -> dict[str, list[str]]:
    """The same network twice, as the overrides that name it.

    Args:
        folder: for both bundles.
        seed: of the weights.
        classes: that the network's head knows; none: a training draws its own.
    """
    torch.manual_seed(seed)
    network = timm.create_model(NAME, num_classes=2, img_size=SIDE).eval()
    mean, std = (torch.tensor(one).reshape(1, 3, 1, 1) for one in (IMAGENET.mean, IMAGENET.std))
    weights = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    weights |= {"normalise.mean": mean, "normalise.std": std}
    # As images are preprocessed for a network of which nothing is known.
    known = {"height": SIDE, "width": SIDE}
    known |= {"interpolation": IMAGENET.interpolation, "crop_pct": IMAGENET.crop_pct}
    native = Bundle("classification", {}, classes, known, {}, {}, None, [], weights)
    write_bundle(folder / "native.tltb", native)
    torch.onnx.export(
        network,
        (torch.rand(2, 3, SIDE, SIDE),),
        folder / "vit.onnx",
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
    )
    write_bundle(folder / "imported.tltb", to_bundle(import_file(folder / "vit.onnx"), classes=classes))
    key = "model.backbone.pretrained_backbone_path"
    return {
        "native": [f"model.backbone.type={NAME}", f"{key}={folder / 'native.tltb'}"],
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


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows that are there already, by what tells one from the others."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.keys() == set(COLUMNS)]
    # Rows from before both networks had the same preprocessing are measured again.
    return {tuple(row[name] for name in KEYS): row for row in rows}


def main() -> None:
    """Goes through seeds and networks, and writes the table, which is whole after every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--again", action="store_true", help="also those that are in the table")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    classes = sorted(folder.name for folder in (options.photos / "train").iterdir() if folder.is_dir())
    data = [f"dataset.{split}_dataset.images_dir={options.photos / split}" for split in ("train", "val")]
    data += ["dataset.workers=0", "dataset.cache=ram", "train.accelerator=cpu"]
    for head, seed, network in itertools.product(options.heads, options.seeds, options.networks):
        key = (network, head, str(seed), str(options.epochs))
        if key in read_rows(options.output) and not options.again:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            words = write_starts(Path(temporary), seed, classes if head == "same" else [])[network]
            found = measure(Path(temporary), words, seed, options.epochs, data)
        row = {"network": network, "head": head, "seed": seed, "epochs": options.epochs, **found}
        print(row, flush=True)
        rows = read_rows(options.output) | {key: row}
        with options.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[one] for one in sorted(rows))


if __name__ == "__main__":
    main()
