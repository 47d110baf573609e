"""unCLIP's autoregressive prior: principal components of an embedding as codes, said one after another."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.tasks.text_to_image.model.components import principal_components
from tao_like.tasks.text_to_image.model.parts import Transformer, WordSum, causal_mask


class EmbeddingCodes(nn.Module):
    """Embeddings as codes: principal components, each rounded to buckets of one width (Ramesh et al. 2022).

    Args:
        embedding: length of an embedding.
        codes: components that are kept, those with most variance first.
        buckets: values of each.
    """

    def __init__(self, embedding: int, codes: int, buckets: int) -> None:
        super().__init__()
        self.buckets = buckets
        for name, shape in (("mean", (embedding,)), ("axes", (codes, embedding)), ("low", (codes,))):
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("width", torch.ones(codes))
        self.mean: Tensor
        self.axes: Tensor
        self.low: Tensor
        self.width: Tensor

    def measure(self, embeddings: Tensor) -> None:
        """Finds components and their ranges among embeddings (N, D)."""
        mean, axes = principal_components(embeddings, len(self.low))
        values = (embeddings - mean) @ axes.T
        self.mean.copy_(mean)
        self.axes.copy_(axes)
        self.low.copy_(values.amin(dim=0))
        self.width.copy_(((values.amax(dim=0) - self.low) / self.buckets).clamp(min=1e-6))

    def codes(self, embeddings: Tensor) -> Tensor:
        """(N, D) to (N, codes) int64."""
        values = (embeddings - self.mean) @ self.axes.T
        return ((values - self.low) / self.width).floor().clamp(0, self.buckets - 1).long()

    def embeddings(self, codes: Tensor) -> Tensor:
        """(N, codes) to (N, D) of length 1: the middle of each bucket."""
        values = self.low + (codes.float() + 0.5) * self.width
        return functional.normalize(values @ self.axes + self.mean, dim=1)


class CodePrior(nn.Module):
    """A causal transformer over a caption, its embedding, and the codes so far.

    Args:
        embedding: length of CLIP's embeddings.
        text_width: width of the text tower's tokens.
        length: tokens of a caption.
        codes, buckets: as of `EmbeddingCodes`, which it holds.
        width, layers, heads: of the transformer.
        vocabulary: tokens of captions, where every place hears each word by itself too; 0: as in unCLIP.
    """

    def __init__(
        self,
        *,
        embedding: int,
        text_width: int,
        length: int,
        codes: int,
        buckets: int,
        width: int,
        layers: int,
        heads: int,
        vocabulary: int = 0,
    ) -> None:
        super().__init__()
        self.words = WordSum(vocabulary, width) if vocabulary else None
        self.coder = EmbeddingCodes(embedding, codes, buckets)
        self.tokens = nn.Linear(text_width, width)
        self.text = nn.Linear(embedding, width)
        # A code is a place on a line, so it is told as a number; each place has a scale of its own.
        self.code = nn.Parameter(torch.empty(1, codes, width).normal_(std=0.5))
        self.positions = nn.Parameter(torch.empty(1, length + codes, width).normal_(std=0.02))
        self.transformer = Transformer(width, layers, heads)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, buckets)

    def forward(
        self, codes: Tensor, text: Tensor, tokens: Tensor, padding: Tensor, words: Tensor | None = None
    ) -> Tensor:
        """The logits of every code, each from those before it.

        Args:
            codes: (N, K) int64; what stands at a place and after it has no effect on that place.
            text: (N, embedding): the caption's.
            tokens: (N, length, text_width): the text tower's.
            padding: (N, length) bool: places beyond the caption's end, which nothing sees.
            words: (N, width): the sum of its words' vectors, where it has such.

        Returns:
            (N, K, buckets).
        """
        told = (2 * (codes[:, :-1].to(text.dtype) + 0.5) / self.coder.buckets - 1).unsqueeze(-1)
        before = told * self.code[:, : told.shape[1]]
        said = torch.cat([self.text(text).unsqueeze(1), before], dim=1)
        if words is not None:
            said = said + words.unsqueeze(1)
        x = torch.cat([self.tokens(tokens), said], dim=1) + self.positions
        mask = causal_mask(torch.cat([padding, torch.zeros_like(codes, dtype=torch.bool)], dim=1))
        found: Tensor = self.out(self.norm(self.transformer(x, mask))[:, tokens.shape[1] :])
        return found
