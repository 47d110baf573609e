"""unCLIP's diffusion prior: from what CLIP makes of a caption to what it would make of an image of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tao_like.tasks.text_to_image.model.parts import Transformer, WordSum, causal_mask, timestep_embedding

EXTRA_TOKENS = 4
"""Beside the caption's: its embedding, the timestep, the noisy image's embedding, and the query."""


class Prior(nn.Module):
    """A causal transformer whose last place says the image's embedding (Ramesh et al. 2022, section 2.2).

    Args:
        embedding: width of CLIP's embeddings.
        text_width: width of the text tower's tokens.
        length: tokens of a caption.
        width, layers, heads: of the transformer.
        vocabulary: tokens of captions, where the query hears each word by itself too; 0: as in unCLIP.
    """

    def __init__(
        self,
        *,
        embedding: int,
        text_width: int,
        length: int,
        width: int,
        layers: int,
        heads: int,
        vocabulary: int = 0,
    ) -> None:
        super().__init__()
        self.words = WordSum(vocabulary, width) if vocabulary else None
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.tokens = nn.Linear(text_width, width)
        self.text = nn.Linear(embedding, width)
        self.image = nn.Linear(embedding, width)
        self.positions = nn.Parameter(torch.empty(1, length + EXTRA_TOKENS, width).normal_(std=0.02))
        self.query = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.transformer = Transformer(width, layers, heads)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, embedding)

    def forward(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        text: Tensor,
        tokens: Tensor,
        padding: Tensor,
        words: Tensor | None = None,
    ) -> Tensor:
        """The image's embedding without noise.

        Args:
            noisy: (N, embedding).
            timesteps: (N,), 0 to 999.
            text: (N, embedding): the caption's.
            tokens: (N, length, text_width): the text tower's.
            padding: (N, length) bool: places beyond the caption's end, which nothing sees.
            words: (N, width): the sum of its words' vectors, where it has such.

        Returns:
            (N, embedding).
        """
        batch = noisy.shape[0]  # in a trace `len` would be a constant
        time = self.time(timestep_embedding(timesteps, self.width))
        ends = torch.stack([self.text(text), time, self.image(noisy)], dim=1)
        query = self.query.expand(batch, -1, -1)
        if words is not None:
            query = query + words.unsqueeze(1)
        x = torch.cat([self.tokens(tokens), ends, query], dim=1) + self.positions
        mask = causal_mask(torch.cat([padding, padding.new_zeros(batch, EXTRA_TOKENS)], dim=1))
        return self.out(self.norm(self.transformer(x, mask))[:, -1])
