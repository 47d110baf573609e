"""Speed of imported networks against the native ones that they were exported from.

    python benchmarks/byom_speed.py                # all networks, writes benchmarks/byom_speed.csv
    python benchmarks/byom_speed.py resnet18 --rounds 5

Every network of timm is exported by torch's tracing exporter, converted, and run beside its original:
the forward pass in evaluation, and a training step (forward, backward, SGD). Which of the two goes first
changes from round to round. Given are medians of the wall clock and of the ratio of each round, with its
quartiles. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import copy
import csv
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from byom_timm import network, written
from torch import Tensor, nn

from tao_like.byom.conversion import convert
from tao_like.byom.source.reading import parse_model

TABLE = Path(__file__).with_suffix(".csv")
NETWORKS = (
    *("resnet18", "mobilenetv3_small_050", "tf_efficientnet_lite0", "ghostnet_050"),
    *("convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "levit_128s"),
)
COLUMNS = (
    *("network", "what", "batch", "rounds", "native_seconds", "imported_seconds"),
    *("ratio", "lower_quartile", "upper_quartile"),
)
BATCH = 4
_LEARNING_RATE = 1e-4
_WARM_UP = 2


def forward(module: nn.Module, images: Tensor) -> Callable[[], None]:
    """A function that runs a network in evaluation."""
    module.eval()

    def run() -> None:
        with torch.inference_mode():
            module(images)

    return run


def training_step(module: nn.Module, images: Tensor) -> Callable[[], None]:
    """A function that trains a network by one step."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=_LEARNING_RATE, momentum=0.9)
    targets = torch.arange(len(images))

    def run() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), targets).backward()
        optimizer.step()

    return run


def in_turns(functions: list[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Seconds of each function in each round; the order is turned from round to round."""
    for function in functions * _WARM_UP:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for number in range(rounds):
        order = range(len(functions)) if number % 2 else reversed(range(len(functions)))
        for index in order:
            start = time.perf_counter()
            functions[index]()
            times[index].append(time.perf_counter() - start)
    return times


def rows(name: str, rounds: int) -> list[dict[str, Any]]:
    """The lines of a network."""
    native = network(name)
    size = native.default_cfg["input_size"]  # type: ignore[index]
    imported = convert(parse_model(written(native, torch.randn(2, *size), "trace"))).module
    images = torch.randn(BATCH, *size)
    found = []
    for what, make in (("forward", forward), ("training step", training_step)):
        pair = [make(copy.deepcopy(module), images) for module in (native, imported)]
        plain, ours = in_turns(pair, rounds)
        ratios = [right / left for left, right in zip(plain, ours, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found.append(
            {
                "network": name,
                "what": what,
                "batch": BATCH,
                "rounds": rounds,
                "native_seconds": f"{statistics.median(plain):.4f}",
                "imported_seconds": f"{statistics.median(ours):.4f}",
                "ratio": f"{middle:.3f}",
                "lower_quartile": f"{low:.3f}",
                "upper_quartile": f"{high:.3f}",
            }
        )
    return found


def main() -> None:
    """Times the networks that are named, or all, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", help="left out: all of the table, which is then written")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(options.threads)
    table = []
    for name in options.networks or NETWORKS:
        table += rows(name, options.rounds)
        for row in table[-2:]:
            print(row, flush=True)
    if not options.networks:
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(table)


if __name__ == "__main__":
    main()
