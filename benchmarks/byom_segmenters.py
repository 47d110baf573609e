"""Segmenters of other people along the whole path: converted, trained, pruned, exported, quantized, run.

    python benchmarks/byom_segmenters.py             # rows that benchmarks/byom_segmenters.csv lacks

Networks of segmentation_models_pytorch, torchvision and transformers with random weights, for five or seven
classes, as torch's tracing exporter writes them (opset 17). A segmenter of three classes is trained for one
epoch on 12 drawn images of 64 pixels. `stands_on` are the maps before the file's layers of classes,
`converted` is the largest difference to onnxruntime, `exported` and `pruned_exported` the
fraction of pixels whose class is another after export, `macs` what pruning to 0.8 has left, `int8`
the fraction of pixels whose class is another in int8. `problem` names the first stage that failed, and why.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

import tao_like
from tao_like import runtime
from tao_like.bundle import write_bundle
from tao_like.byom.cuts import DENSE
from tao_like.byom.importing import import_file, to_bundle
from tao_like.networks import _torchvision  # noqa: F401

# isort: split
import segmentation_models_pytorch as smp
import torchvision

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = (
    *("source", "converted", "stands_on", "trained", "exported", "macs", "pruned_exported", "int8"),
    *("cpu_seconds", "problem"),
)
SIDE, CLASSES = 64, ("ground", "disk", "bar")
_MOBILE = {"encoder_name": "tu-mobilenetv3_small_050", "encoder_weights": None}


class _Plain(nn.Module):
    """One tensor of a network that gives a dict, or the likeliest class of every pixel."""

    def __init__(self, network: nn.Module, key: str = "", *, argmax: bool = False) -> None:
        super().__init__()
        self.network, self.key, self.argmax = network, key, argmax

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits, or classes."""
        result = self.network(pixels)
        result = result[self.key] if self.key else result
        classes: torch.Tensor = result.argmax(1) if self.argmax else result
        return classes


def _segformer() -> nn.Module:
    import transformers

    settings: Any = {"hidden_sizes": [16, 16, 32, 32], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.SegformerConfig(**settings, decoder_hidden_size=32, num_labels=5)
    return _Plain(transformers.SegformerForSemanticSegmentation(config), "logits")


def _torchvision_network(name: str) -> nn.Module:
    models: Any = torchvision.models.segmentation
    return _Plain(getattr(models, name)(weights=None, weights_backbone=None, num_classes=5), "out")


SOURCES: dict[str, Callable[[], nn.Module]] = {
    "smp Unet": lambda: smp.Unet(**_MOBILE, classes=5, decoder_channels=(64, 32, 24, 16, 16)),
    "smp FPN, argmax": lambda: _Plain(smp.FPN(**_MOBILE, classes=7), argmax=True),
    "smp DeepLabV3Plus": lambda: smp.DeepLabV3Plus(**_MOBILE, classes=5),
    "torchvision lraspp": lambda: _torchvision_network("lraspp_mobilenet_v3_large"),
    "hf SegFormer": _segformer,
}


def write_images(folder: Path) -> list[str]:
    """Drawn images with their masks, and the overrides that name them."""
    draw = np.random.default_rng(0)
    overrides = []
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        for number in range(count):
            mask = Image.new("L", (SIDE, SIDE), 0)
            x, y, left = draw.integers(16, 48, 3).tolist()
            ImageDraw.Draw(mask).ellipse((x - 12, y - 12, x + 12, y + 12), fill=1)
            ImageDraw.Draw(mask).rectangle((left, 0, left + 8, SIDE), fill=2)
            colors = np.array([(90, 90, 90), (40, 60, 230), (230, 40, 40)])
            pixels = np.clip(colors[np.asarray(mask)] + draw.integers(-20, 20, (SIDE, SIDE, 3)), 0, 255)
            for part, image in (("images", Image.fromarray(pixels.astype(np.uint8))), ("masks", mask)):
                (folder / part / split).mkdir(parents=True, exist_ok=True)
                image.save(folder / part / split / f"{number}.png")
        overrides += [
            f"dataset.{split}_dataset.{part}_dir={folder / part / split}" for part in ("images", "masks")
        ]
    names = ", ".join(f"{{label_id: {number}, seg_class: {name}}}" for number, name in enumerate(CLASSES))
    return [*overrides, f"dataset.palette=[{names}]"]


def measure(name: str, folder: Path, row: dict[str, Any]) -> None:
    """One segmenter along the path; fills a row as far as it comes."""
    row["problem"] = "export of the source"
    torch.manual_seed(0)
    network = SOURCES[name]().eval()
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = folder / "source.onnx"
        settings: dict[str, Any] = {"dynamo": False, "opset_version": 17, "dynamic_axes": axes}
        example = (torch.rand(2, 3, SIDE, SIDE),)
        torch.onnx.export(network, example, file, input_names=["x"], output_names=["y"], **settings)
    row["problem"] = "convert"
    result = import_file(file, size=(SIDE, SIDE))
    row["converted"] = f"{result.largest_difference:.1e}"
    maps = [cut for cut in result.cuts if cut.what == DENSE]
    row["stands_on"] = " + ".join("x".join(map(str, cut.shape[1:])) for cut in maps)
    write_bundle(folder / "new.tltb", to_bundle(result, classes=[]))
    common = [*write_images(folder / "data"), f"dataset.img_size={SIDE}", "dataset.batch_size=4"]
    common += ["dataset.workers=0", "train.num_epochs=1", "train.accelerator=cpu"]
    common += ["train.tensorboard.enabled=false", "model.backbone.type=byom"]
    common.append(f"model.backbone.pretrained_backbone_path={folder / 'new.tltb'}")

    def run(stage: str, results: str, *overrides: str) -> Any:
        row["problem"] = stage
        given = [*common, f"results_dir={folder / results}", *overrides]
        return tao_like.run("segmentation", stage, None, given, quiet=True)

    first = run("train", "a")
    row["trained"] = f"{first.metrics['mIoU']:.3f}"
    run("evaluate", "a")
    row["exported"] = f"{run('export', 'a').report['largest_difference']:.1e}"
    cut = run(
        "prune", "b", f"prune.checkpoint={first.bundle}", "prune.target_macs=0.8", "prune.granularity=2"
    )
    row["macs"] = f"{cut.report['macs_share']:.2f}"
    run("train", "c", f"train.pruned_model_path={cut.bundle}")
    smaller = run("export", "c")
    row["pruned_exported"] = f"{smaller.report['largest_difference']:.1e}"
    whole = run("quantize", "d", f"quantize.checkpoint={smaller.onnx_file}", "quantize.max_drop=1")
    row["int8"] = f"{whole.report['largest_difference']:.1e}"
    models = f"compare.checkpoints=['{smaller.onnx_file}','{whole.onnx_file}']"
    run("compare", "e", models, "compare.rounds=1")
    row["problem"] = "runtime"
    runtime.load(smaller.onnx_file).predict(folder / "data" / "images" / "test" / "0.png")
    row["problem"] = ""


def main() -> None:
    """Goes through the segmenters that are not in the table yet, which is whole after every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if options.output.exists():
        with options.output.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    for name in SOURCES:
        if any(row["source"] == name for row in rows):
            continue
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"source": name}
        start = time.process_time()
        with tempfile.TemporaryDirectory() as temporary:
            try:
                measure(name, Path(temporary), row)
            except Exception as error:  # a row says how far it came, whatever goes wrong
                row["problem"] += f": {type(error).__name__}: {' '.join(str(error).split())[:160]}"
        row["cpu_seconds"] = f"{time.process_time() - start:.0f}"
        rows.append(row)
        print(*row.values(), sep=" | ", file=sys.stderr, flush=True)
        with options.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
