"""From joints over time to the logits of the classes: streams of the input, blocks, and a linear layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tao_like.data.skeletons.layouts import Layout
from tao_like.tasks.pose_classification.model.blocks import (
    BlockForm,
    FixedGraphConvolution,
    GraphConvolution,
    STGCNBlock,
    STGCNPlusPlusBlock,
    channels_and_strides,
)
from tao_like.tasks.pose_classification.model.graph import directed_partitions, partitions


@dataclass(frozen=True)
class Architecture:
    """What a network is built from.

    Attributes:
        layout: joints and edges.
        plus_plus: ST-GCN++ instead of ST-GCN.
        channels: of the input: x, y and z or a score.
        classes: outputs.
        base: channels of the first blocks.
        blocks: how many.
        dropout: fraction of the values, 0 to 1.
        strategy: how ST-GCN divides the graph.
        center_distance: see `graph.hop_distances`.
        importance: whether ST-GCN learns a mask of the edges.
        streams: ``joint``, ``bone``, ``joint_motion`` or ``bone_motion``; each has a network of its own.
        weights: of the streams' predictions.
        confidence: the last channel is a score, not a coordinate.
    """

    layout: Layout
    plus_plus: bool
    channels: int
    classes: int
    base: int
    blocks: int
    dropout: float
    strategy: str
    center_distance: str
    importance: bool
    streams: tuple[str, ...]
    weights: tuple[float, ...]
    confidence: bool


class StreamNetwork(nn.Module):
    """One stream's network: batch norm of every joint's channels, blocks, mean over frames, joints and
    persons.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        layout = architecture.layout
        if architecture.plus_plus:
            adjacency, weighting = directed_partitions(layout), "learnt"
        else:
            adjacency = partitions(layout, architecture.strategy, architecture.center_distance)
            weighting = "importance" if architecture.importance else "fixed"
        block = STGCNPlusPlusBlock if architecture.plus_plus else STGCNBlock
        self.norm = nn.BatchNorm1d(architecture.channels * len(layout.joints))
        channels = architecture.channels
        blocks: list[nn.Module] = []
        for number, (out_channels, stride) in enumerate(
            channels_and_strides(architecture.base, architecture.blocks)
        ):
            dropout = architecture.dropout if number else 0.0
            form = BlockForm(
                channels, out_channels, adjacency, weighting, stride, dropout, residual=number > 0
            )
            blocks.append(block(form))
            channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, architecture.classes)

    @property
    def graph(self) -> Tensor:
        """(K, V, V): the adjacency of the first block."""
        return self.state_dict()["blocks.0.spatial.adjacency"]

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) to logits (N, classes)."""
        batch, channels, frames, count, persons = joints.shape
        values = joints.permute(0, 4, 3, 1, 2).reshape(batch * persons, count * channels, frames)
        values = self.norm(values).reshape(batch * persons, count, channels, frames).permute(0, 2, 3, 1)
        for block in self.blocks:
            values = block(values)
        logits = self.head(values.mean(dim=(2, 3)))
        return logits.reshape(batch, persons, -1).mean(dim=1)


class SkeletonClassifier(nn.Module):
    """A network for each stream; their probabilities are joined in the end (late fusion)."""

    parents: Tensor
    weights: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.streams = nn.ModuleDict({name: StreamNetwork(architecture) for name in architecture.streams})
        self.scored = architecture.confidence
        self.register_buffer("parents", torch.tensor(architecture.layout.parents), persistent=False)
        fractions = torch.tensor(architecture.weights) / sum(architecture.weights)
        self.register_buffer("weights", fractions, persistent=False)

    def forward(self, joints: Tensor) -> list[Tensor]:
        """Joints (N, C, T, V, M) to the logits (N, classes) of each stream."""
        return [network(self.stream(name, joints)) for name, network in self.streams.items()]

    def stream(self, name: str, joints: Tensor) -> Tensor:
        """What a stream sees: joints, bones (a joint less its neighbour towards the center), or their motion.

        Scores are no coordinates: they are averaged over the two joints or frames (as pyskl does).
        """
        if name.startswith("bone"):
            joints = self._difference(joints, joints.index_select(3, self.parents))
        if name.endswith("motion"):
            following = torch.cat([joints[:, :, 1:], joints[:, :, -1:]], dim=2)
            joints = self._difference(following, joints)
        return joints

    def _difference(self, one: Tensor, other: Tensor) -> Tensor:
        if not self.scored:
            return one - other
        return torch.cat([(one - other)[:, :-1], (one + other)[:, -1:] / 2], dim=1)

    def probabilities(self, logits: Sequence[Tensor]) -> Tensor:
        """(N, classes): the weighted mean of the streams' probabilities."""
        each = [one.float().softmax(dim=1) for one in logits]
        if len(each) == 1:
            return each[0]
        return torch.stack([weight * one for weight, one in zip(self.weights, each, strict=True)]).sum(0)

    @property
    def heads(self) -> list[nn.Module]:
        """The linear layers that give the logits."""
        return [module.head for module in self.streams.values() if isinstance(module, StreamNetwork)]

    def graphs(self, stream: str | None = None) -> list[GraphConvolution]:
        """The graph convolutions of a stream; None: of all of them."""
        network = self if stream is None else self.streams[stream]
        return [module for module in network.modules() if isinstance(module, GraphConvolution)]

    def graph_parameters(self) -> list[nn.Parameter]:
        """The learnt adjacencies and masks: no channels run along them."""
        names = ("adjacency", "importance")
        return [value for name, value in self.named_parameters() if name.rpartition(".")[2] in names]


class SkeletonClassifierForExport(nn.Module):
    """Joints as the runtime preprocesses them to probabilities.

    Args:
        network: it is copied, and what its graphs have learnt becomes constant.
    """

    def __init__(self, network: SkeletonClassifier) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        for block in self.network.modules():
            if isinstance(block, STGCNBlock | STGCNPlusPlusBlock):
                assert isinstance(block.spatial, GraphConvolution)
                block.spatial = FixedGraphConvolution(block.spatial)

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) float to (N, classes)."""
        return self.network.probabilities(self.network(joints))
