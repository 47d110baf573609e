"""A training step of ST-GCN's block, and what its parts cost in other formulations.

python benchmarks/pose_step.py

Batch 16, 64 frames, 25 joints; 64, 128 and 256 channels as in the published network, where frames are halved
with each doubling. Forward and backward, in turns, medians; OMP_NUM_THREADS says how many threads. The plain
formulation is that of the paper's code: one convolution for all parts of the graph, and an einsum with the
adjacency.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.data.skeletons.layouts import LAYOUTS
from tao_like.stages.lib.latency import measure_in_turns
from tao_like.tasks.pose_classification.model.blocks import (
    TEMPORAL_KERNEL,
    BlockForm,
    GraphConvolution,
    STGCNBlock,
)
from tao_like.tasks.pose_classification.model.graph import partitions

BATCH, JOINTS = 16, 25
SIZES = ((64, 64), (128, 32), (256, 16))
"""Channels and frames of the published network's three parts, for 64 frames."""
HEADER = ["part", "formulation", "channels", "frames", "median_ms", "ratio_to_ours"]
PAD = TEMPORAL_KERNEL // 2


class EinsumGraphConvolution(nn.Module):
    """The graph convolution as the paper's code has it, with the weights of ours."""

    def __init__(self, ours: GraphConvolution) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, T, V) to (N, out_channels, T, V)."""
        weight = torch.cat([convolution.weight for convolution in self.ours.convolutions])
        bias = torch.cat([convolution.bias for convolution in self.ours.convolutions])
        each = functional.conv2d(values, weight, bias)
        batch, channels, frames, joints = each.shape
        matrices = self.ours.matrices()
        each = each.view(batch, len(matrices), channels // len(matrices), frames, joints)
        return torch.einsum("nkctv,kvw->nctw", each, matrices).contiguous()


def over_time_plain(values: Tensor, weight: Tensor) -> Tensor:
    """Conv2d with a kernel of 9 x 1, channels in front."""
    return functional.conv2d(values, weight, padding=(PAD, 0))


def over_time_last(values: Tensor, weight: Tensor) -> Tensor:
    """The same in channels_last memory."""
    values = values.contiguous(memory_format=torch.channels_last)
    return over_time_plain(values, weight.contiguous(memory_format=torch.channels_last))


def over_time_turned(values: Tensor, weight: Tensor) -> Tensor:
    """Frames as the last axis: a kernel of 1 x 9."""
    turned = functional.conv2d(values.transpose(2, 3).contiguous(), weight.transpose(2, 3), padding=(0, PAD))
    return turned.transpose(2, 3)


def over_time_conv1d(values: Tensor, weight: Tensor) -> Tensor:
    """Conv1d over (N V, C, T)."""
    batch, channels, frames, joints = values.shape
    flat = values.permute(0, 3, 1, 2).reshape(batch * joints, channels, frames)
    flat = functional.conv1d(flat, weight[..., 0], padding=PAD)
    return flat.view(batch, joints, -1, frames).permute(0, 2, 3, 1)


def over_time_shifts(values: Tensor, weight: Tensor) -> Tensor:
    """Nine products with shifted frames."""
    padded = functional.pad(values, (0, 0, PAD, PAD))
    frames = values.shape[2]
    parts = [
        functional.conv2d(padded[:, :, tap : tap + frames], weight[:, :, tap : tap + 1])
        for tap in range(TEMPORAL_KERNEL)
    ]
    return torch.stack(parts).sum(dim=0)


OVER_TIME = {
    "ours: conv2d 9x1": over_time_plain,
    "conv2d 9x1, channels_last": over_time_last,
    "conv2d 1x9, frames last": over_time_turned,
    "conv1d over (N V, C, T)": over_time_conv1d,
    "nine shifted products": over_time_shifts,
}


def step(module: nn.Module, values: Tensor) -> Callable[[], None]:
    """Forward and backward pass of a module."""

    def call() -> None:
        module.zero_grad(set_to_none=True)
        output = module(values.detach().requires_grad_())
        output.backward(torch.ones_like(output))

    return call


def kernel_step(
    over_time: Callable[[Tensor, Tensor], Tensor], values: Tensor, weight: Tensor
) -> Callable[[], None]:
    """Forward and backward pass of a convolution over time."""

    def call() -> None:
        output = over_time(values.detach().requires_grad_(), weight.detach().requires_grad_())
        output.backward(torch.ones_like(output))

    return call


def measured(channels: int, frames: int, rounds: int) -> list[list[object]]:
    """All formulations at one size."""
    torch.manual_seed(0)
    graph = partitions(LAYOUTS["ntu-rgb+d"], "spatial")
    form = BlockForm(channels, channels, graph, "importance")
    block, plain = STGCNBlock(form), STGCNBlock(form)
    plain.load_state_dict(block.state_dict())
    plain.spatial = EinsumGraphConvolution(plain.spatial)  # type: ignore[assignment]
    values = torch.randn(BATCH, channels, frames, JOINTS)
    weight = torch.randn(channels, channels, TEMPORAL_KERNEL, 1) / channels
    torch.testing.assert_close(block(values), plain(values), rtol=1e-3, atol=1e-3)
    parts: dict[str, dict[str, Callable[[], None]]] = {
        "block": {"ours": step(block, values), "einsum": step(plain, values)},
        "graph convolution": {
            "ours: three products": step(block.spatial, values),
            "einsum": step(plain.spatial, values),
        },
        "convolution over time": {name: kernel_step(one, values, weight) for name, one in OVER_TIME.items()},
    }
    rows: list[list[object]] = []
    for part, candidates in parts.items():
        times = {
            name: one.median_ms
            for name, one in measure_in_turns(candidates, rounds=rounds, warm_up=1).items()
        }
        own = next(iter(times.values()))
        for name, median in times.items():
            rows.append([part, name, channels, frames, f"{median:.1f}", f"{median / own:.2f}"])
            print(*rows[-1], flush=True)
    return rows


def main() -> None:
    """Measures, and writes the CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    rows: list[list[object]] = []
    for channels, frames in SIZES:
        rows += measured(channels, frames, options.rounds)
    rows.append([f"torch {torch.__version__}, {torch.get_num_threads()} threads", "", "", "", "", ""])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
