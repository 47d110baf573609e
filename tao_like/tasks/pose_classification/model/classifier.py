"""From joints over time to the logits of the classes: streams of the input, blocks, and a linear layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence

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
from tao_like.tasks.pose_classification.spec import ModelSpec, chosen_layout


class StreamNetwork(nn.Module):
    """One stream's network: batch norm of every joint's channels, blocks, mean over frames, joints and
    persons.
    """

    def __init__(self, model: ModelSpec, layout: Layout, num_classes: int) -> None:
        super().__init__()
        plus_plus = model.model_type == "ST-GCN++"
        if plus_plus:
            adjacency, weighting = directed_partitions(layout), "learnt"
        else:
            adjacency = partitions(layout, model.graph_strategy, model.center_distance)
            weighting = "importance" if model.edge_importance_weighting else "fixed"
        block = STGCNPlusPlusBlock if plus_plus else STGCNBlock
        self.norm = nn.BatchNorm1d(model.input_channels * len(layout.joints))
        channels = model.input_channels
        blocks: list[nn.Module] = []
        for number, (out_channels, stride) in enumerate(
            channels_and_strides(model.base_channels, model.num_blocks)
        ):
            dropout = model.dropout if number else 0.0
            form = BlockForm(
                channels, out_channels, adjacency, weighting, stride, dropout, residual=number > 0
            )
            blocks.append(block(form))
            channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, num_classes)

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

    def __init__(self, model: ModelSpec, num_classes: int) -> None:
        super().__init__()
        layout = chosen_layout(model)
        self.streams = nn.ModuleDict(
            {name: StreamNetwork(model, layout, num_classes) for name in model.streams}
        )
        self.scored = model.confidence
        self.register_buffer("parents", torch.tensor(layout.parents), persistent=False)
        weights = model.stream_weights or [1.0] * len(model.streams)
        fractions = torch.tensor(weights) / sum(weights)
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
