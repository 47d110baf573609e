"""A small CLIP for unCLIP: unlike the task of that name its text tower tells what each token has become."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.runtime.inputs.text import PAD
from tao_like.tasks.text_to_image.model.parts import Transformer, WordSum

GROUPS = 8
FIRST_SCALE = math.log(1 / 0.07)
LARGEST_SCALE = math.log(100)
"""Radford et al. 2021, section 2.5: the start of the logits' scale, and its limit."""


class ImageTower(nn.Module):
    """Images to embeddings: convolutions that halve the side, and a linear layer that knows places.

    Args:
        channels: of the convolutions.
        side: of the images, in pixels.
        embedding: length of an embedding.
    """

    def __init__(self, channels: Sequence[int], side: int, embedding: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for wanted in channels:
            convolution = nn.Conv2d(width, wanted, 3, 2, 1, bias=False)
            layers += [convolution, nn.GroupNorm(math.gcd(GROUPS, wanted), wanted), nn.GELU()]
            width, side = wanted, -(-side // 2)
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Linear(width * side**2, embedding, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W), 0 to 1, to embeddings (N, embedding) of length 1."""
        return functional.normalize(self.proj(self.layers(2 * pixels - 1).flatten(1)), dim=1)


class TextTower(nn.Module):
    """Captions to embeddings, by a transformer whose tokens see only those before them.

    The embedding is read at the caption's end. A caption without one, all padding, has the embedding 0.

    Args:
        vocabulary: tokens; 0 is padding.
        end: the token that ends a caption.
        length: tokens of a caption.
        width, layers, heads: of the transformer.
        embedding: length of an embedding.
        caption_sum: add a vector of each word to what is read at the end: one that does not depend on the
            word's neighbors, so that pairs of words that were never seen together have their place.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        end: int,
        length: int,
        width: int,
        layers: int,
        heads: int,
        embedding: int,
        caption_sum: bool = False,
    ) -> None:
        super().__init__()
        self.end = end
        self.words = WordSum(vocabulary, width) if caption_sum else None
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width).normal_(std=0.01))
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.transformer = Transformer(width, layers, heads)
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, embedding, bias=False)
        above = torch.full((length, length), float("-inf")).triu(1)
        self.register_buffer("mask", above, persistent=False)
        self.mask: Tensor

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes captions.

        Args:
            text: (N, length) int64.

        Returns:
            The embeddings (N, embedding), of length 1 or 0, and what each token has become
            (N, length, width).
        """
        states = self.norm(self.transformer(self.tokens(text) + self.positions, self.mask))
        ends = (text == self.end).to(states.dtype)
        first = ends * (ends.cumsum(dim=1) == 1)
        at_end = (states * first.unsqueeze(-1)).sum(dim=1)
        if self.words is not None:
            at_end = at_end + self.words(text)
        return functional.normalize(self.proj(at_end), dim=1), states

    def padding(self, text: Tensor) -> Tensor:
        """Which tokens (N, length) say nothing of a caption: those that pad it."""
        return text == PAD


class Towers(nn.Module):
    """Both, and the scale of their cosines."""

    def __init__(self, image: ImageTower, text: TextTower) -> None:
        super().__init__()
        self.image = image
        self.text = text
        # With an axis: a weight without one cannot be divided over processes.
        self.scale = nn.Parameter(torch.full((1,), FIRST_SCALE))


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Each image finds its caption and each caption its image (Radford et al. 2021, figure 3).

    Args:
        image, text: (N, D), of length 1.
        scale: (1,): its exponential multiplies the cosines.
        same: (N, N) bool: whose captions are equal; each of them is right.
    """
    logits = scale.clamp(max=LARGEST_SCALE).exp() * image @ text.T
    targets = same.float() / same.sum(dim=1, keepdim=True)
    both = functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)
    return both / 2
