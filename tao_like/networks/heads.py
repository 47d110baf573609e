"""The heads of attention layers: finding them, and taking some away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

HEAD_TABLES = {"relative_position_bias_table": -1, "logit_scale": 0}
"""Bare parameters of attention layers that hold a value for each head, and the dimension of the heads."""
_KNOWN_PARTS = {"qkv", "proj", "attn_drop", "proj_drop", "softmax", "q_norm", "k_norm"}


@dataclass
class AttentionHeads:
    """An attention layer whose heads are rows of ``qkv`` and columns of ``proj``.

    Attributes:
        name: the attention module's name.
        module: has ``num_heads``.
        qkv: a linear layer with rows for queries, keys and values, each divided into heads.
        proj: a linear layer that joins the heads.
    """

    name: str
    module: nn.Module
    qkv: nn.Linear
    proj: nn.Linear

    @property
    def count(self) -> int:
        """Heads."""
        return int(self.module.num_heads)  # type: ignore[arg-type]

    @property
    def size(self) -> int:
        """Values of a head."""
        return self.proj.in_features // self.count

    def by_head(self, columns: Tensor) -> Tensor:
        """A value for each column of ``proj`` (heads * size,) as (heads, size)."""
        return columns.view(self.count, self.size)

    def remove(self, heads: Sequence[int]) -> None:
        """Takes heads away: their rows, columns and rows of tables; at least one must stay.

        Raises:
            ValueError: no head would be left.
        """
        kept = torch.tensor([head for head in range(self.count) if head not in set(heads)])
        if not len(kept):
            raise ValueError(f"{self.name} would be left without a head")
        columns = (kept[:, None] * self.size + torch.arange(self.size)).flatten()
        width = self.proj.in_features
        rows = torch.cat([columns + part * width for part in range(3)])
        for name, dimension in HEAD_TABLES.items():
            table = getattr(self.module, name, None)
            if isinstance(table, nn.Parameter):
                setattr(self.module, name, _cut(table, dimension, kept))
        for layer, name, dimension, positions in (
            (self.qkv, "weight", 0, rows),
            (self.qkv, "bias", 0, rows),
            (self.proj, "weight", 1, columns),
        ):
            if (parameter := getattr(layer, name)) is not None:
                setattr(layer, name, _cut(parameter, dimension, positions))
        self.qkv.out_features, self.proj.in_features = len(rows), len(columns)
        self.module.num_heads = len(kept)  # type: ignore[assignment]
        if hasattr(self.module, "attn_dim"):
            self.module.attn_dim = len(columns)  # type: ignore[assignment]


def _cut(parameter: nn.Parameter, dimension: int, kept: Tensor) -> nn.Parameter:
    values = parameter.detach().index_select(dimension, kept.to(parameter.device)).clone()
    return nn.Parameter(values, requires_grad=parameter.requires_grad)


def attention_modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module that divides its input among heads, whatever its layout."""
    for name, module in network.named_modules():
        if isinstance(vars(module).get("num_heads"), int) and any(True for _ in module.parameters()):
            yield name, module


def attention_heads(network: nn.Module) -> list[AttentionHeads]:
    """The attention layers whose heads can be taken away.

    These are timm's usual layout, whose forward pass takes its sizes from ``num_heads`` and ``proj``. A layer
    with a norm over all heads, a gate, or a bare parameter that is not in ``HEAD_TABLES`` is left out.
    """
    found = []
    for name, module in attention_modules(network):
        parts = {key: part for key, part in module.named_children() if not isinstance(part, nn.Identity)}
        qkv, proj = parts.get("qkv"), parts.get("proj")
        if not (isinstance(qkv, nn.Linear) and isinstance(proj, nn.Linear)):
            continue
        bare = {key for key, _ in module.named_parameters(recurse=False)}
        plain = parts.keys() <= _KNOWN_PARTS and bare <= HEAD_TABLES.keys()
        heads = AttentionHeads(name, module, qkv, proj)
        if plain and qkv.out_features == 3 * proj.in_features and proj.in_features % heads.count == 0:
            found.append(heads)
    return found
