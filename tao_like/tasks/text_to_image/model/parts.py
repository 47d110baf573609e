"""Layers that several networks share: transformer blocks, timestep embedding, norm in float."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.contract.model import InnerChannels
from tao_like.runtime.inputs.text import PAD


class Attention(nn.Module):
    """Self-attention of several heads over a sequence.

    Args:
        width: channels.
        heads: divides ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attends.

        Args:
            x: (N, T, width).
            mask: (T, T) or (N, 1, T, T), added to the logits; None: everything sees everything.
        """
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class MLP(nn.Sequential):
    """Two layers with a GELU between them, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def inner_channels(self) -> InnerChannels:
        """See `HasInnerChannels`."""
        first, _, last = self
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        return InnerChannels({first: 1}, (last,))


class Block(nn.Module):
    """A transformer's layer with its norms in front (pre-LN)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, T, width) to the same; ``mask`` as for `Attention`."""
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class WordSum(nn.Embedding):
    """A vector of each word of a caption, summed up: it says of a word the same whatever stands beside it.

    Args:
        vocabulary: tokens.
        width: of the vectors.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__(vocabulary, width)
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, text: Tensor, padding: Tensor | None = None) -> Tensor:
        """Sums up.

        Args:
            text: (N, T) int64.
            padding: (N, T) bool: what says nothing; None: where the token is 0.

        Returns:
            (N, width).
        """
        said = text != PAD if padding is None else ~padding
        return (super().forward(text) * said.unsqueeze(-1)).sum(dim=1)


class Transformer(nn.Module):
    """Layers one after another.

    Args:
        width: channels.
        layers: how many.
        heads: of attention.
    """

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, T, width) to the same."""
        for block in self.blocks:
            x = block(x, mask)
        return x


def causal_mask(unseen: Tensor) -> Tensor:
    """What hides later places from earlier ones, and from all the places that nothing sees.

    A place sees itself even where it is padding: attention to nothing has no value.

    Args:
        unseen: (N, length) bool.

    Returns:
        (N, 1, length, length): 0, or minus infinity, to be added to what attention weighs by.
    """
    position = torch.arange(unseen.shape[1], device=unseen.device)
    later = (position[None, :] > position[:, None])[None]
    own = (position[None, :] == position[:, None])[None]
    hidden = (later | unseen[:, None]) & ~own
    return torch.zeros(hidden.shape, device=unseen.device).masked_fill(hidden, float("-inf"))[:, None]


def timestep_embedding(timesteps: Tensor, width: int, max_period: float = 10000.0) -> Tensor:
    """Cosines and sines of timesteps, as in the code of GLIDE: cosines first.

    Args:
        timesteps: (N,), 0 to 999; need not be whole.
        width: even.
        max_period: of the slowest wave, over 2 pi.

    Returns:
        (N, width).
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-math.log(max_period) * steps / half)
    angles = timesteps.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def zero(module: nn.Module) -> nn.Module:
    """The module with all its parameters at zero, as the last layer of a residual branch begins."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
