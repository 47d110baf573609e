"""The text tower: a transformer whose tokens see only those before them, or as SigLIP has it all."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from timm.layers import GELUTanh, QuickGELU
from timm.models.vision_transformer import Block

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "quick_gelu": QuickGELU,
    "gelu_tanh": GELUTanh,
}
_SIGLIP_EPSILON = 1e-6


class TextTower(nn.Module):
    """Ids to embeddings, and the scale and bias by which pairs are compared.

    The embedding is read at a text's end: the first position of the id ``end``. What stands behind it has no
    effect, since no token sees a later one (Radford et al. 2021, section 2.4).

    Args:
        vocabulary_size: ids that there are.
        end: the id that ends a text.
        context_length: ids of a text.
        width: channels.
        layers: blocks.
        heads: attention heads of each.
        embed_dim: length of an embedding.
        activation: a name of ``ACTIVATIONS``.
        logit_scale: logarithm of the scale of cosines at the start.
        logit_bias: what is added to scaled cosines at the start; None: the loss has no bias.
        is_siglip: every token sees all, padding too, and the embedding is read at the last position (Zhai et
            al. 2023, as in big_vision).
        mlp_ratio: hidden channels of the blocks over their width.
    """

    mask: Tensor | None
    norm: nn.Module

    def __init__(
        self,
        *,
        vocabulary_size: int,
        end: int,
        context_length: int,
        width: int,
        layers: int,
        heads: int,
        embed_dim: int,
        activation: str,
        logit_scale: float,
        logit_bias: float | None,
        is_siglip: bool = False,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.end = end
        self.is_siglip = is_siglip
        norm_layer: Any = partial(nn.LayerNorm, eps=_SIGLIP_EPSILON) if is_siglip else nn.LayerNorm
        self.token_embedding = nn.Embedding(vocabulary_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                mlp_ratio=mlp_ratio,
                qkv_bias=True,
                norm_layer=norm_layer,
                act_layer=ACTIVATIONS[activation],
            )
            for _ in range(layers)
        )
        self.norm = norm_layer(width)
        self.projection = nn.Linear(width, embed_dim, bias=is_siglip)
        # One number each, with an axis: a weight without one cannot be divided over processes.
        self.logit_scale = nn.Parameter(torch.full((1,), logit_scale))
        self.logit_bias = None if logit_bias is None else nn.Parameter(torch.full((1,), logit_bias))
        above = torch.full((context_length, context_length), float("-inf")).triu(1)
        self.register_buffer("mask", None if is_siglip else above, persistent=False)
        self.initialize(width, layers)

    def initialize(self, width: int, layers: int) -> None:
        """The original's start (its model.py, ``initialize_parameters``)."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        projection_std = width**-0.5 * (2 * layers) ** -0.5
        for block in self.blocks:
            nn.init.normal_(block.attn.qkv.weight, std=width**-0.5)  # type: ignore[union-attr,arg-type]
            nn.init.normal_(block.attn.proj.weight, std=projection_std)  # type: ignore[union-attr,arg-type]
            nn.init.normal_(block.mlp.fc1.weight, std=(2 * width) ** -0.5)  # type: ignore[union-attr,arg-type]
            nn.init.normal_(block.mlp.fc2.weight, std=projection_std)  # type: ignore[union-attr,arg-type]
            for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):  # type: ignore[union-attr]
                nn.init.zeros_(layer.bias)  # type: ignore[union-attr,arg-type]
        nn.init.normal_(self.projection.weight, std=width**-0.5)
        if self.projection.bias is not None:
            nn.init.zeros_(self.projection.bias)

    def no_weight_decay(self) -> set[str]:
        """Parameters that are no matrices of weights."""
        return {"positional_embedding"}

    def forward(self, ids: Tensor) -> Tensor:
        """Maps ids (N, L) int64 to embeddings (N, embed_dim), not normalized."""
        return self._read(ids, self._states(ids))

    def with_tokens(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The same embeddings, and what each token has become.

        Args:
            ids: (N, L) int64.

        Returns:
            (N, embed_dim), not normalized, and (N, L, width), behind the last norm.
        """
        states = self._states(ids)
        return self._read(ids, states), self.norm(states)

    def padding(self, ids: Tensor) -> Tensor:
        """Which tokens (N, L) say nothing of a text: those behind its first end; of SigLIP's texts none."""
        if self.is_siglip:
            return torch.zeros_like(ids, dtype=torch.bool)
        ends = (ids == self.end).to(self.positional_embedding.dtype)
        return (ends.cumsum(dim=1) - ends) > 0

    def _states(self, ids: Tensor) -> Tensor:
        """What the blocks make of each token, (N, L, width)."""
        states = self.token_embedding(ids) + self.positional_embedding
        for block in self.blocks:
            states = block(states, attn_mask=self.mask)
        return states

    def _read(self, ids: Tensor, states: Tensor) -> Tensor:
        """The embeddings (N, embed_dim), of ids (N, L) and their states (N, L, width)."""
        if self.is_siglip:
            last: Tensor = self.projection(self.norm(states)[:, -1])
            return last
        # Which position is the first end: a product with its mark, for engines that cannot gather by row.
        ends = (ids == self.end).to(states.dtype)
        first = ends * (ends.cumsum(dim=1) == 1)
        embedding: Tensor = self.projection(self.norm((states * first.unsqueeze(-1)).sum(dim=1)))
        return embedding
