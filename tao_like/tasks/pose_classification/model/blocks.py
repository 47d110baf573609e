"""Blocks of ST-GCN and ST-GCN++: a graph convolution over the joints, then convolutions over time.

Within the networks values have the shape (N, C, T, V): sequences of a person, channels, frames, joints. Two
choices were measured (benchmarks/pose_step.py): the graph convolution as K convolutions and K matrix products
instead of one einsum, and the 9-tap convolution over time as a Conv2d in the usual layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPORAL_KERNEL = 9
BRANCHES = (("conv", 1), ("conv", 2), ("conv", 3), ("conv", 4), ("max", 1), ("point", 1))
"""Kinds and dilations of the branches of ST-GCN++'s convolution over time (Duan et al. 2022, section 3.2)."""


class GraphConvolution(nn.Module):
    """The sum over the parts of the graph of A_k^T (W_k x) (Yan et al. 2018, equation 10).

    Args:
        channels: of the input.
        out_channels: of the output.
        adjacency: (K, V, V); what joint w takes from joint v stands at [k, v, w].
        weighting: ``importance``: the adjacency is multiplied by a learnt mask; ``learnt``: it is learnt
            itself; ``fixed``: it stays.
    """

    def __init__(
        self, channels: int, out_channels: int, adjacency: npt.NDArray[np.float32], weighting: str
    ) -> None:
        super().__init__()
        matrices = torch.from_numpy(adjacency.copy())
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for _ in matrices)
        self.importance: nn.Parameter | None = None
        if weighting == "learnt":
            self.adjacency: Tensor = nn.Parameter(matrices)
        else:
            self.register_buffer("adjacency", matrices)
        if weighting == "importance":
            self.importance = nn.Parameter(torch.ones_like(matrices))

    def matrices(self) -> Tensor:
        """(K, V, V): the adjacency as it is used."""
        return self.adjacency if self.importance is None else self.adjacency * self.importance

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, T, V) to (N, out_channels, T, V)."""
        return _weighted_sum(values, self.convolutions, self.matrices().unbind())


class FixedGraphConvolution(nn.Module):
    """A graph convolution whose matrices are worked out, one constant each: what ships.

    Args:
        learnt: its convolutions are shared.
    """

    def __init__(self, learnt: GraphConvolution) -> None:
        super().__init__()
        self.convolutions = learnt.convolutions
        parts = learnt.matrices().detach().unbind()
        self.parts = nn.ParameterList(nn.Parameter(part.clone(), requires_grad=False) for part in parts)

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, T, V) to (N, out_channels, T, V)."""
        return _weighted_sum(values, self.convolutions, self.parts)


def _weighted_sum(values: Tensor, convolutions: nn.ModuleList, matrices: Iterable[Tensor]) -> Tensor:
    parts = [
        torch.matmul(convolution(values), matrix)
        for convolution, matrix in zip(convolutions, matrices, strict=True)
    ]
    return sum(parts[1:], parts[0])


class EveryNthFrame(nn.Conv2d):
    """A pointwise convolution of every n-th frame, (N, channels, T, V) to (N, out_channels, T / n, V).

    The frames are chosen first. As a stride of the convolution they corrupt memory in torch's gradient on a
    CPU: torch 2.13 with 8 channels that lie together (channels_last), which pruning comes to.

    Args:
        channels: of the input.
        out_channels: of the output.
        step: n.
    """

    def __init__(self, channels: int, out_channels: int, step: int) -> None:
        super().__init__(channels, out_channels, 1)
        self.step = step

    def forward(self, inputs: Tensor) -> Tensor:
        """The convolution of the chosen frames."""
        # A pool of one frame: pruning follows it, and would leave what comes before a slice as it is.
        return super().forward(functional.avg_pool2d(inputs, 1, (self.step, 1)))


def _over_time(
    channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A convolution over the frames that keeps their number, but for the stride."""
    if kernel == 1 and stride > 1:
        return EveryNthFrame(channels, out_channels, stride)
    return nn.Conv2d(
        channels, out_channels, (kernel, 1), (stride, 1), (dilation * (kernel - 1) // 2, 0), (dilation, 1)
    )


def _projection(channels: int, out_channels: int, stride: int) -> nn.Module:
    """What a residual connection needs: nothing where the sizes stay."""
    if channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(_over_time(channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


@dataclass(frozen=True)
class BlockForm:
    """What a block is built from.

    Attributes:
        channels: of the input.
        out_channels: of the output.
        adjacency: see `GraphConvolution`; weighting: likewise.
        stride: of the frames.
        dropout: fraction of the values, 0 to 1.
        residual: False in the first block.
    """

    channels: int
    out_channels: int
    adjacency: npt.NDArray[np.float32]
    weighting: str
    stride: int = 1
    dropout: float = 0.0
    residual: bool = True

    def graph_convolution(self) -> nn.Module:
        """Over the joints."""
        return GraphConvolution(self.channels, self.out_channels, self.adjacency, self.weighting)

    def connection(self) -> nn.Module | None:
        """The residual connection; None in the first block."""
        return _projection(self.channels, self.out_channels, self.stride) if self.residual else None


class STGCNBlock(nn.Module):
    """Graph convolution and a 9-tap convolution over time, with a residual connection around both."""

    def __init__(self, form: BlockForm) -> None:
        super().__init__()
        self.spatial = form.graph_convolution()
        self.temporal = nn.Sequential(
            nn.BatchNorm2d(form.out_channels),
            nn.ReLU(),
            _over_time(form.out_channels, form.out_channels, TEMPORAL_KERNEL, form.stride),
            nn.BatchNorm2d(form.out_channels),
            nn.Dropout(form.dropout),
        )
        self.residual = form.connection()

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, T, V) to (N, out_channels, T / stride, V)."""
        moved = self.temporal(self.spatial(values))
        if self.residual is not None:
            moved = moved + self.residual(values)
        return torch.relu(moved)


class MultiBranchTemporal(nn.Module):
    """Convolutions of several dilations, a maximum and a point side by side, joined and mixed.

    Args:
        out_channels: channels of input and output, at least as many as there are branches.
        stride: of the frames.
    """

    def __init__(self, out_channels: int, stride: int) -> None:
        super().__init__()
        narrow = out_channels // len(BRANCHES)
        widths = [out_channels - narrow * (len(BRANCHES) - 1), *[narrow] * (len(BRANCHES) - 1)]
        self.branches = nn.ModuleList(
            self._branch(kind, dilation, out_channels, own, stride)
            for (kind, dilation), own in zip(BRANCHES, widths, strict=True)
        )
        self.mixing = nn.Sequential(
            nn.BatchNorm2d(out_channels), nn.ReLU(), nn.Conv2d(out_channels, out_channels, 1)
        )
        self.norm = nn.BatchNorm2d(out_channels)

    @staticmethod
    def _branch(kind: str, dilation: int, out_channels: int, own: int, stride: int) -> nn.Module:
        if kind == "point":
            return _over_time(out_channels, own, 1, stride)
        last: nn.Module = _over_time(own, own, 3, stride, dilation)
        if kind == "max":
            last = nn.MaxPool2d((3, 1), (stride, 1), (1, 0))
        return nn.Sequential(nn.Conv2d(out_channels, own, 1), nn.BatchNorm2d(own), nn.ReLU(), last)

    def forward(self, values: Tensor) -> Tensor:
        """(N, out_channels, T, V) to (N, out_channels, T / stride, V)."""
        joined = torch.cat([branch(values) for branch in self.branches], dim=1)
        return self.norm(self.mixing(joined))


class STGCNPlusPlusBlock(nn.Module):
    """ST-GCN++'s block: a residual connection inside the graph convolution, and branches over time."""

    def __init__(self, form: BlockForm) -> None:
        super().__init__()
        self.spatial = form.graph_convolution()
        self.norm = nn.BatchNorm2d(form.out_channels)
        self.inner = _projection(form.channels, form.out_channels, 1)
        self.temporal = MultiBranchTemporal(form.out_channels, form.stride)
        self.dropout = nn.Dropout(form.dropout)
        self.residual = form.connection()

    def forward(self, values: Tensor) -> Tensor:
        """(N, channels, T, V) to (N, out_channels, T / stride, V)."""
        moved = torch.relu(self.norm(self.spatial(values)) + self.inner(values))
        moved = self.dropout(self.temporal(moved))
        if self.residual is not None:
            moved = moved + self.residual(values)
        return torch.relu(moved)


def channels_and_strides(base: int, blocks: int) -> Sequence[tuple[int, int]]:
    """Width and stride of each block: at the fifth and the eighth, frames are halved and channels doubled."""
    return [(base * 2 ** sum(number >= turn for turn in (4, 7)), 2 if number in (4, 7) else 1)
            for number in range(blocks)]  # fmt: skip
