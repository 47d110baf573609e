"""Latency of pruned networks in onnxruntime beside their fraction of the MACs: what half of them buys.

ResNet-50 and ViT-S/16 at 224 pixels with random weights, cut to half the multiply-accumulates by the size of
their weights. Speed does not depend on the values. Every network is timed in turns with its unpruned self at
batch 1.

    python benchmarks/pruned_latency.py
"""

from __future__ import annotations

import argparse
import copy
import csv
import os
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from tao_like.contract.model import Exportable, Prunable
from tao_like.networks.backbones.build import create_backbone
from tao_like.stages.lib.cost import network_cost
from tao_like.stages.lib.graphs.writing import to_onnx
from tao_like.stages.lib.latency import measure_in_turns
from tao_like.stages.prune.criteria import magnitude, relative
from tao_like.stages.prune.proof import remove_proven
from tao_like.stages.prune.selection import MacsEstimate, Rules, choose, find_ratio
from tao_like.stages.prune.units import find_units

NETWORKS = ("resnet50", "vit_small_patch16_224")
SCOPES = ("local", "global")
SIDE, TARGET, GRANULARITY, MAX_RATIO, OPSET = 224, 0.5, 8, 0.9, 18


def halved(network: nn.Module, images: torch.Tensor, scope: str) -> tuple[nn.Module, float]:
    """A copy with half the MACs, and the fraction that it really has."""
    pruned = copy.deepcopy(network)
    head: Callable[[], nn.Module] = pruned.get_classifier  # type: ignore[assignment]
    example = Prunable((images,), [head()])
    units = find_units(pruned, example, granularity=GRANULARITY)
    estimate = MacsEstimate(pruned, units, example.inputs)
    rules = Rules(scope, MAX_RATIO, {unit.name: unit.size for unit in units})
    scores = relative(magnitude(units, 2))
    choice = find_ratio(TARGET, estimate.total, estimate, lambda ratio: choose(units, scores, ratio, rules))
    remove_proven(pruned, units, choice, example.inputs)
    return pruned, network_cost(pruned, example.inputs).macs / estimate.total


def session(network: nn.Module, images: torch.Tensor, threads: int) -> Callable[[], object]:
    """The network in onnxruntime, as a call."""
    exportable = Exportable(
        network.eval(),
        {"image": {0: "batch"}},
        {"logits": {0: "batch"}},
        {},
        lambda preprocessed: preprocessed,
    )
    proto, _ = to_onnx(exportable, (images,), dynamic=False, opset=OPSET)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    run = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    ).run
    feed = {"image": images.numpy()}
    return lambda: run(None, feed)


def main() -> None:
    """Measures every network and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    header = ["network", "scope", "macs_share", "latency_share", "median_ms", "pruned_median_ms"]
    rows: list[list[object]] = []
    images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for name in NETWORKS:
        torch.manual_seed(0)
        network = create_backbone(name, num_classes=1000, img_size=SIDE).eval()
        candidates, fractions = {"unpruned": session(network, images, options.threads)}, {}
        for scope in SCOPES:
            pruned, fractions[scope] = halved(network, images, scope)
            candidates[scope] = session(pruned, images, options.threads)
        times = measure_in_turns(candidates, rounds=options.rounds)
        whole = times["unpruned"].median_ms
        for scope in SCOPES:
            median = times[scope].median_ms
            rows.append(
                [
                    name,
                    scope,
                    f"{fractions[scope]:.3f}",
                    f"{median / whole:.3f}",
                    f"{whole:.1f}",
                    f"{median:.1f}",
                ]
            )
            print(*rows[-1], flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, f"threads={options.threads}"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
