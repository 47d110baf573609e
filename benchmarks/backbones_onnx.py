"""Which of torch's two ONNX exporters can write timm's networks, how fast, and how exactly.

    python benchmarks/backbones_onnx.py                 all of backbone_names.csv, into backbones_onnx.csv
    python benchmarks/backbones_onnx.py resnet18 ...    only these, shown and not stored

For each network: a training step, then an export of the form that ships (pixels in, normalisation inside,
batch left open) by each exporter, and onnxruntime's answers against torch's at batch 1 and 3. All weights
are shaken first, since many networks start with layers at zero, through which any error would pass unseen.
Each network has a process of its own, so one that crashes or hangs costs its own row and no more.
"""

from __future__ import annotations

import csv
import io
import logging
import multiprocessing
import os
import queue
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from tao_like.networks.backbones import create_backbone

HERE = Path(__file__).parent
NAMES_FILE = HERE / "backbone_names.csv"
RESULT_FILE = HERE / "backbones_onnx.csv"
CLASSES = 5
BATCHES = (1, 3)
OPSET = {"trace": 17, "dynamo": 18}
SECONDS_ALLOWED = 240
COLUMNS = (
    "name",
    "family",
    "image_size",
    "training_step",
    *(f"{exporter}_{column}" for exporter in OPSET for column in ("works", "seconds", "max_difference", "problem")),
)


class Pixels(nn.Module):
    """A network that takes pixels (N, H, W, 3) of 0 to 255 and gives logits (N, classes)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise and classify."""
        return self.network(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)


def training_step(network: nn.Module, size: int) -> None:
    """Run one step of SGD on noise; fills the running statistics of BatchNorm too."""
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    logits = network(torch.randn(4, 3, size, size))
    if isinstance(logits, tuple):  # networks with a second head for distillation
        logits = sum(logits) / len(logits)
    nn.functional.cross_entropy(logits, torch.arange(4) % CLASSES).backward()
    missing = [name for name, value in network.named_parameters() if value.requires_grad and value.grad is None]
    if len(missing) == sum(1 for _ in network.parameters()):
        raise RuntimeError("no parameter got a gradient")
    optimiser.step()


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
            file,
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
    return program.model_proto.SerializeToString()


def largest_difference(network: nn.Module, model: bytes, size: int) -> float:
    """Return the largest difference between onnxruntime's and torch's logits, relative to the largest logit."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in BATCHES:
        pixels = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
        with torch.no_grad():
            expected = network(pixels).numpy()
        answer = np.asarray(session.run(None, {"pixels": pixels.numpy()})[0])
        if answer.shape != expected.shape:
            raise RuntimeError(f"batch {batch}: shape {answer.shape} instead of {expected.shape}")
        worst = max(worst, float(np.abs(answer - expected).max() / max(1.0, np.abs(expected).max())))
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
        text = " ".join(str(error).split())
        row[f"{exporter}_problem"] = f"{type(error).__name__}: {text[:160]}"


def measure(name: str, size: int, report: Callable[[dict[str, Any]], None]) -> None:
    """Measure one network; report what is known after each step."""
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    row: dict[str, Any] = {}
    network = create_backbone(name, num_classes=CLASSES, img_size=size)
    shake(network)
    training_step(network, size)
    row["training_step"] = "yes"
    report(row)
    pixels_network = Pixels(network).eval()
    for exporter in OPSET:
        attempt(row, exporter, pixels_network, size)
        report(row)


def measure_apart(name: str, size: int) -> dict[str, Any]:
    """Measure one network in a process of its own, within a limited time."""
    context = multiprocessing.get_context("fork")
    reports: multiprocessing.Queue[dict[str, Any]] = context.Queue()
    process = context.Process(target=measure, args=(name, size, reports.put), daemon=True)
    start = time.perf_counter()
    process.start()
    row: dict[str, Any] = {}
    while True:
        try:
            row = reports.get(timeout=0.2)
        except queue.Empty:
            if not process.is_alive():
                break
            if time.perf_counter() - start > SECONDS_ALLOWED:
                process.kill()
                break
    process.join()
    if process.exitcode:
        unfinished = next((exporter for exporter in OPSET if f"{exporter}_works" not in row), "trace")
        row.setdefault(f"{unfinished}_works", "no")
        row.setdefault(f"{unfinished}_problem", f"the process ended with exit code {process.exitcode}")
    return row


def main() -> None:
    """Measure the networks and write the table."""
    sys.stderr.flush()
    with NAMES_FILE.open(encoding="utf-8", newline="") as file:
        networks = list(csv.DictReader(file))
    chosen = set(sys.argv[1:])
    rows = []
    for facts in networks:
        if chosen and facts["name"] not in chosen:
            continue
        row = {**facts, **measure_apart(facts["name"], int(facts["image_size"]))}
        rows.append(row)
        print(row, flush=True)
        if not chosen:
            with RESULT_FILE.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
