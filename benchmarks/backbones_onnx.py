"""Which of torch's two ONNX exporters can write timm's networks, how fast, and how exactly.

    python benchmarks/backbones_onnx.py                              all of backbone_names.csv
    python benchmarks/backbones_onnx.py --exporter dynamo --every 4  one of two, on each fourth network
    python benchmarks/backbones_onnx.py resnet18 swin_tiny_patch4_window7_224

Results go into backbones_onnx.csv; rows and columns that were not asked for stay as they are, empty if they
were never measured. "trace" is torch.onnx.export(dynamo=False), "dynamo" is dynamo=True.

For each network: a training step, then an export of the form that ships (pixels in, normalization inside,
batch left open) by each exporter, and onnxruntime's answers against torch's at batch 1 and 3. All weights
are shaken first, since many networks start with layers at zero, through which any error would pass unseen.
Each network has a process of its own, so one that crashes or hangs costs its own row and no more.
"""

from __future__ import annotations

import argparse
import csv
import io
import logging
import multiprocessing
import os
import queue
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from tao_like.networks.backbones.build import create_backbone

HERE = Path(__file__).parent
NAMES_FILE = HERE / "backbone_names.csv"
RESULT_FILE = HERE / "backbones_onnx.csv"
CLASSES = 5
BATCHES = (1, 3)
OPSET = {"trace": 17, "dynamo": 18}
SECONDS_ALLOWED = 600
OUTCOME = ("works", "seconds", "max_difference", "problem")
COLUMNS = (
    "name",
    "family",
    "image_size",
    "training_step",
    *(f"{exporter}_{column}" for exporter in OPSET for column in OUTCOME),
)


class Pixels(nn.Module):
    """A network that takes pixels (N, H, W, 3) of 0 to 255 and gives logits (N, classes)."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network that takes normalized images (N, 3, H, W)."""
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalize and classify."""
        logits: Tensor = self.network(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return logits


def training_step(network: nn.Module, size: int) -> None:
    """Run one step of SGD on noise; fills the running statistics of BatchNorm too."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    logits = network(torch.randn(4, 3, size, size))
    if isinstance(logits, tuple):  # networks with a second head for distillation
        logits = sum(logits) / len(logits)
    nn.functional.cross_entropy(logits, torch.arange(4) % CLASSES).backward()
    missing = [
        name for name, value in network.named_parameters() if value.requires_grad and value.grad is None
    ]
    if len(missing) == sum(1 for _ in network.parameters()):
        raise RuntimeError("no parameter got a gradient")
    optimizer.step()


def shake(network: nn.Module) -> None:
    """Add noise to all weights."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))


def export(network: nn.Module, pixels: Tensor, exporter: str) -> bytes:
    """Write a network as ONNX with an open batch."""
    file = io.BytesIO()
    if exporter == "trace":
        torch.onnx.export(
            network,
            (pixels,),
            file,  # type: ignore[arg-type]  # the annotation leaves out the open files that the docs promise
            dynamo=False,
            opset_version=OPSET[exporter],
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}},
        )
        return file.getvalue()
    program = torch.onnx.export(
        network,
        (pixels,),
        dynamo=True,
        opset_version=OPSET[exporter],
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
        verbose=False,
    )
    assert program is not None
    model: bytes = program.model_proto.SerializeToString()
    return model


def largest_difference(network: nn.Module, model: bytes, size: int) -> float:
    """Return how far onnxruntime's logits are from torch's at most, as a fraction of the largest logit."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in BATCHES:
        pixels = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
        with torch.no_grad():
            expected = network(pixels).numpy()
        output = np.asarray(session.run(None, {"pixels": pixels.numpy()})[0])
        if output.shape != expected.shape:
            raise RuntimeError(f"batch {batch}: shape {output.shape} instead of {expected.shape}")
        worst = max(worst, float(np.abs(output - expected).max() / max(1.0, np.abs(expected).max())))
    return worst


def attempt(row: dict[str, Any], exporter: str, network: nn.Module, size: int) -> None:
    """Export and compare; write what happened into the row."""
    start = time.perf_counter()
    try:
        model = export(network, torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8), exporter)
        row[f"{exporter}_seconds"] = round(time.perf_counter() - start, 1)
        difference = largest_difference(network, model, size)
        row[f"{exporter}_max_difference"] = f"{difference:.1e}"
        row[f"{exporter}_works"] = "yes" if difference < 1e-4 else "differs"
    except Exception as error:  # whatever goes wrong with a network is this table's content
        row[f"{exporter}_works"] = "no"
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter wraps what went wrong in general advice
            cause = cause.__cause__
        text = " ".join(str(cause).split())
        row[f"{exporter}_problem"] = f"{type(cause).__name__}: {text[:160]}"


def measure(name: str, size: int, exporter: str, results: multiprocessing.Queue[dict[str, Any]]) -> None:
    """Measure one network with one exporter."""
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = create_backbone(name, num_classes=CLASSES, img_size=size)
    shake(network)
    training_step(network, size)
    row: dict[str, Any] = {"training_step": "yes"}
    attempt(row, exporter, Pixels(network).eval(), size)
    results.put(row)


def measure_apart(name: str, size: int, exporter: str) -> dict[str, Any]:
    """Measure one network with one exporter, in a process of its own and within a limited time."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[dict[str, Any]] = context.Queue()
    process = context.Process(target=measure, args=(name, size, exporter, results), daemon=True)
    process.start()
    process.join(SECONDS_ALLOWED)
    if process.is_alive():
        process.kill()
        process.join()
        return {f"{exporter}_works": "no", f"{exporter}_problem": f"took more than {SECONDS_ALLOWED} s"}
    try:
        return results.get(timeout=1)
    except queue.Empty:
        problem = f"the process ended with exit code {process.exitcode}"
        return {f"{exporter}_works": "no", f"{exporter}_problem": problem}


def read_table() -> list[dict[str, Any]]:
    """Return the networks with what an earlier run found out about them."""
    with NAMES_FILE.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    if RESULT_FILE.is_file():
        with RESULT_FILE.open(encoding="utf-8", newline="") as file:
            known = {row["name"]: row for row in csv.DictReader(file)}
        rows = [{**known.get(row["name"], {}), **row} for row in rows]
    return rows


def write_table(rows: list[dict[str, Any]]) -> None:
    """Write what is known so far."""
    with RESULT_FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Measure the networks and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="networks of backbone_names.csv; default: all")
    parser.add_argument("--exporter", choices=tuple(OPSET), help="default: both")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth network only")
    options = parser.parse_args()
    rows = read_table()
    chosen = [row for row in rows if not options.names or row["name"] in options.names][:: options.every]
    for exporter in (options.exporter,) if options.exporter else OPSET:
        for row in chosen:
            for column in OUTCOME:
                row.pop(f"{exporter}_{column}", None)
            result = measure_apart(row["name"], int(row["image_size"]), exporter)
            row.update(result)
            print(row["name"], result, flush=True)
            write_table(rows)


if __name__ == "__main__":
    main()
