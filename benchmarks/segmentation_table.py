"""Which segmentation networks export, prune and quantize, and how much their answers change.

Each architecture is trained for one epoch on a few drawn scenes, then pruned to half of its arithmetic,
exported (at any size) and quantized, by the stages that users call. Exported files are compared with torch at
two sizes and two batches.

    python benchmarks/segmentation_table.py [--backbone test_resnet] [--output segmentation_table.csv]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import tao_like
from tao_like.config import load_spec
from tao_like.errors import TaoLikeError
from tao_like.samples import shapes_scenes
from tao_like.stages.lib.engines import open_model
from tao_like.tasks import spec_module, task_class
from tao_like.tasks.segmentation.model.segmenter import SegmenterForExport
from tao_like.tasks.segmentation.spec_blocks.model import DECODERS

SIZES = ((128, 160), (192, 128))
BATCHES = (1, 3)
FIELDS = (
    *("arch", "backbone", "parameters", "exports", "difference_fp32", "sizes_fp32", "prunes", "macs_share"),
    *("parameters_pruned", "quantizes", "class_share_changed_int8", "bytes_fp32", "bytes_int8", "seconds"),
)


def words(arch: str, backbone: str, data: Path, results: Path) -> list[str]:
    """The settings of all stages."""
    return [
        f"model.arch={arch}",
        f"model.backbone.type={backbone}",
        f"dataset.root_dir={data}",
        "dataset.img_size=160",
        "dataset.img_height=128",
        "dataset.batch_size=4",
        "dataset.workers=0",
        "train.num_epochs=1",
        "train.optim.monitor_name=val_mIoU",
        "train.accelerator=cpu",
        "train.tensorboard.enabled=false",
        "prune.target_macs=0.5",
        "prune.granularity=4",
        "quantize.max_drop=1",
        "quantize.num_samples=8",
        f"results_dir={results}",
    ]


def measure(arch: str, backbone: str, data: Path) -> dict[str, Any]:
    """One row of the table."""
    row: dict[str, Any] = {"arch": arch, "backbone": backbone}
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        common = words(arch, backbone, data, results)
        run = lambda stage, *more: tao_like.run("segmentation", stage, None, [*common, *more], quiet=True)  # noqa: E731
        bundle = run("train").bundle
        spec = load_spec(spec_module("segmentation").Spec, None, common).spec
        model = open_model(task_class("segmentation"), spec, bundle, torch.device("cpu"))
        assert model.network is not None
        row["parameters"] = sum(parameter.numel() for parameter in model.network.parameters())
        row |= attempt("exports", lambda: exported(run, model.network, results))
        row |= attempt("prunes", lambda: pruned(run))
        row |= attempt("quantizes", lambda: quantized(run, results))
    row["seconds"] = round(time.process_time() - began, 1)
    return row


def attempt(name: str, work: Any) -> dict[str, Any]:
    """What work gives, or why it failed."""
    try:
        return {name: "yes", **work()}
    except (TaoLikeError, RuntimeError, ValueError) as error:
        return {name: f"no: {str(error).splitlines()[0][:160]}"}


def exported(run: Any, network: Any, results: Path) -> dict[str, Any]:
    """Exports class maps, and compares probabilities at other sizes and batches."""
    result = run("export")
    found = {"difference_fp32": f"{result.report['largest_difference']:.1e}"}
    found["bytes_fp32"] = result.report["bytes"]
    flexible = results / "flexible.onnx"
    run("export", "export.output=probabilities", "export.dynamic_size=true", f"export.onnx_file={flexible}")
    session = onnxruntime.InferenceSession(flexible, providers=["CPUExecutionProvider"])
    whole = SegmenterForExport(network, "uint8_nhwc", probabilities=True).eval()
    worst, draw = 0.0, np.random.default_rng(0)
    for size in SIZES:
        for batch in BATCHES:
            pixels = draw.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
            with torch.inference_mode():
                expected = whole(torch.from_numpy(pixels)).numpy()
            (actual,) = session.run(None, {session.get_inputs()[0].name: pixels})
            worst = max(worst, float(np.abs(actual - expected).max()))
    return {**found, "sizes_fp32": f"{worst:.1e}"}


def pruned(run: Any) -> dict[str, Any]:
    """Prunes to half of the arithmetic."""
    report = run("prune").report
    return {"macs_share": report["macs_share"], "parameters_pruned": report["parameters"]["after"]}


def quantized(run: Any, results: Path) -> dict[str, Any]:
    """Quantizes the exported file, and counts the pixels whose class changes on the test scenes."""
    result = run("quantize", f"quantize.checkpoint={results / 'export' / 'model.onnx'}")
    from tao_like import runtime

    files = sorted((DATA / "images" / "test").iterdir())
    masks = [
        np.concatenate([one.mask.ravel() for one in runtime.load(path).predict(files)])
        for path in (results / "export" / "model.onnx", result.onnx_file)
    ]
    changed = float(np.mean(masks[0] != masks[1]))
    return {"class_share_changed_int8": f"{changed:.4f}", "bytes_int8": result.onnx_file.stat().st_size}


def main() -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="test_resnet")
    parser.add_argument("--arch", nargs="*", default=list(DECODERS))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    global DATA
    with tempfile.TemporaryDirectory() as folder:
        DATA = Path(folder)
        shapes_scenes.COUNTS = {"train": 16, "val": 8, "test": 8}
        shapes_scenes.write_shapes_scenes(DATA)
        rows = []
        for arch in options.arch:
            for backbone in [options.backbone, *(["mit_b0"] if arch == "segformer" else [])]:
                rows.append(measure(arch, backbone, DATA))
                print(rows[-1], flush=True)
                with options.output.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, FIELDS)
                    writer.writeheader()
                    writer.writerows(rows)


DATA = Path()
if __name__ == "__main__":
    main()
