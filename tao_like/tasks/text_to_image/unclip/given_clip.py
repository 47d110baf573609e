"""A CLIP that was trained before, as the prior and the decoder hear it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.runtime.inputs.text import PAD
from tao_like.tasks.common.pair_towers import PairTowers, TextTower

LARGEST_PIXEL = 255.0


class GivenImageTower(nn.Module):
    """Images of one size to embeddings, by a tower that looks at another size.

    Args:
        tower: takes pixels (N, 3, tower_side, tower_side), 0 to 255.
        side: of the images that come, in pixels.
        tower_side: of those that the tower looks at.
    """

    def __init__(self, tower: nn.Module, side: int, tower_side: int) -> None:
        super().__init__()
        self.tower = tower
        # An image is resized by two products with this matrix: the filter that the tower's own images had,
        # bicubic and wider where they shrink, for which torch's tracing exporter knows no operator.
        self.register_buffer("resize", _resizing(side, tower_side), persistent=False)
        self.resize: Tensor | None

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, side, side), 0 to 1, to embeddings (N, embedding) of length 1."""
        pixels = LARGEST_PIXEL * pixels
        if self.resize is not None:
            # Einsum, which int8 leaves as it is.
            wide = torch.einsum("nchw,vw->nchv", pixels, self.resize)
            pixels = torch.einsum("nchv,uh->ncuv", wide, self.resize).clamp(0, LARGEST_PIXEL)
        return functional.normalize(self.tower(pixels), dim=1)


class GivenTextTower(nn.Module):
    """Captions to embeddings. A row of zeros is no caption: its embedding is 0, and none of it is seen.

    Args:
        tower: a text tower of the task `clip`.
    """

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes captions.

        Args:
            text: (N, length) int64.

        Returns:
            The embeddings (N, embedding), of length 1 or 0, and what each token has become
            (N, length, width), 0 where it says nothing.
        """
        embedding, tokens = self.tower.with_tokens(text)
        # What a tower says of no text may be no number, and such a one times 0 is none either.
        none = embedding.new_zeros(())
        embedding = torch.where(_missing(text), none, functional.normalize(embedding, dim=1))
        return embedding, torch.where(self.padding(text).unsqueeze(-1), none, tokens)

    def padding(self, text: Tensor) -> Tensor:
        """Which tokens (N, length) say nothing of a caption."""
        return self.tower.padding(text) | _missing(text)


class GivenTowers(nn.Module):
    """Both, in evaluation mode; they learn no more.

    Args:
        towers: of a trained model of the task `clip`.
        side: of the images that come, in pixels.
        tower_side: of those that the image tower looks at.
    """

    def __init__(self, towers: PairTowers, side: int, tower_side: int) -> None:
        super().__init__()
        self.image = GivenImageTower(towers.image, side, tower_side)
        self.text = GivenTextTower(towers.text)
        self.requires_grad_(False)

    @property
    def scale(self) -> Tensor:
        """Logarithm of the scale of their cosines, (1,)."""
        return self.text.tower.logit_scale


def _missing(text: Tensor) -> Tensor:
    """Which captions (N, length) are none, (N, 1)."""
    return (text == PAD).all(dim=1, keepdim=True)


def _resizing(side: int, wanted: int) -> Tensor | None:
    """The matrix (wanted, side) that resizes a row of pixels; None: it has that length."""
    if side == wanted:
        return None
    rows = torch.eye(side)[None, None]
    found: Tensor = functional.interpolate(rows, (wanted, side), mode="bicubic", antialias=True)[0, 0]
    return found
