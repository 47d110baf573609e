"""A text tower that is somebody's sentence model: BERT's encoder, pooled (Reimers and Gurevych 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.tasks.clip.model.text_tower import ACTIVATIONS

# isort: split
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Attention  # type: ignore[attr-defined]

_HIDDEN = -1e4
"""Added to what attention gives padding: its weight is exactly 0 afterwards, in half precision too."""


@dataclass(frozen=True)
class SentenceShape:
    """The sizes of a sentence model.

    Attributes:
        vocabulary_size: ids that there are.
        pad: the id behind a text, which has no effect.
        width: channels.
        layers: blocks.
        heads: attention heads of each.
        mlp_width: hidden channels of each.
        activation: a name of ``ACTIVATIONS``.
        epsilon: of the normalization.
        pooling: ``mean`` of the tokens, or the first one (``cls``).
    """

    vocabulary_size: int
    pad: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    pooling: str


class SentenceBlock(nn.Module):
    """Attention and two layers, each normalized behind its sum (Vaswani et al. 2017)."""

    def __init__(self, shape: SentenceShape) -> None:
        super().__init__()
        self.attn = Attention(shape.width, shape.heads, qkv_bias=True)
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.mlp = Mlp(shape.width, shape.mlp_width, act_layer=ACTIVATIONS[shape.activation])
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.epsilon)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Maps (N, L, C) to the same; mask is added to attention's weights."""
        states = self.norm1(states + self.attn(states, attn_mask=mask))
        normed: Tensor = self.norm2(states + self.mlp(states))
        return normed


class SentenceTower(nn.Module):
    """Ids to embeddings, and the scale and bias by which pairs are compared; see ``TextTower``.

    Args:
        shape: of the sentence model.
        context_length: ids of a text.
        embed_dim: length of an embedding. Of the model's width, embeddings are the model's own at first.
        logit_scale: logarithm of the scale of cosines at the start.
        logit_bias: what is added to scaled cosines at the start; None: the loss has no bias.
    """

    def __init__(
        self,
        shape: SentenceShape,
        context_length: int,
        embed_dim: int,
        *,
        logit_scale: float,
        logit_bias: float | None,
    ) -> None:
        super().__init__()
        self.pad, self.pooling = shape.pad, shape.pooling
        width = shape.width
        self.keeps_space = embed_dim == width
        norm = partial(nn.LayerNorm, eps=shape.epsilon)
        self.token_embedding = nn.Embedding(shape.vocabulary_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.norm: Any = norm(width)
        self.blocks = nn.ModuleList(SentenceBlock(shape) for _ in range(shape.layers))
        self.projection = nn.Linear(width, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.full((1,), logit_scale))
        self.logit_bias = None if logit_bias is None else nn.Parameter(torch.full((1,), logit_bias))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.02)
        if self.keeps_space:
            nn.init.eye_(self.projection.weight)
        else:
            nn.init.normal_(self.projection.weight, std=width**-0.5)

    def no_weight_decay(self) -> set[str]:
        """Parameters that are no matrices of weights."""
        return {"positional_embedding"}

    def forward(self, ids: Tensor) -> Tensor:
        """Maps ids (N, L) int64 to embeddings (N, embed_dim), not normalized."""
        return self.with_tokens(ids)[0]

    def with_tokens(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The same embeddings, and what each token has become; see ``TextTower.with_tokens``."""
        states = self.norm(self.token_embedding(ids) + self.positional_embedding)
        present = (ids != self.pad).to(states.dtype)
        mask = ((1 - present) * _HIDDEN)[:, None, None, :]
        for block in self.blocks:
            states = block(states, mask)
        return self._read(present, states), states

    def padding(self, ids: Tensor) -> Tensor:
        """Which tokens (N, L) say nothing of a text: those that pad it."""
        return ids == self.pad

    def _read(self, present: Tensor, states: Tensor) -> Tensor:
        """The embeddings (N, embed_dim), by 1 where a token is (N, L) and by the states (N, L, width)."""
        if self.pooling == "cls":
            pooled = states[:, 0]
        else:
            pooled = (states * present.unsqueeze(-1)).sum(dim=1) / present.sum(dim=1, keepdim=True)
        embedding: Tensor = self.projection(pooled)
        return embedding
