"""Both towers, and the forms of them that ship."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.tasks.clip.model.image_tower import ImageTower
from tao_like.tasks.clip.model.sentence_tower import SentenceTower
from tao_like.tasks.clip.model.text_tower import TextTower

AnyTextTower: TypeAlias = TextTower | SentenceTower
LARGEST_LOGIT_SCALE = math.log(100)
"""Radford et al. 2021, section 2.5: beyond, training becomes unstable."""


class Embeddings(NamedTuple):
    """What a pair of towers makes of a batch.

    Attributes:
        image: (N, D), of length 1.
        text: (N, D), of length 1.
        scale: (1,), by which cosines are multiplied.
        bias: (1,), which is added to them.
    """

    image: Tensor
    text: Tensor
    scale: Tensor
    bias: Tensor


class PairNetwork(nn.Module):
    """An image tower and a text tower."""

    def __init__(self, image: ImageTower, text: AnyTextTower) -> None:
        super().__init__()
        self.image = image
        self.text = text

    def parts(self) -> dict[str, nn.Module]:
        """The parts that a bundle keeps apart."""
        return {"image": self.image, "text": self.text}

    def forward(self, pixels: Tensor, ids: Tensor) -> Embeddings:
        """Maps pixels (N, 3, H, W), 0 to 255, and ids (N, L) to their embeddings."""
        scale, bias = scale_and_bias(self.text)
        return Embeddings(
            functional.normalize(self.image(pixels), dim=1),
            functional.normalize(self.text(ids), dim=1),
            scale,
            bias,
        )


def scale_and_bias(text: AnyTextTower) -> tuple[Tensor, Tensor]:
    """(1,) each: what cosines are multiplied with, 100 at most, and what is added."""
    scale = text.logit_scale.clamp(max=LARGEST_LOGIT_SCALE).exp()
    bias = torch.zeros_like(scale) if text.logit_bias is None else text.logit_bias
    return scale, bias


class ImageTowerForExport(nn.Module):
    """Preprocessed images to embeddings of length 1.

    Args:
        tower: the image tower.
        input_format: ``uint8_nhwc``: pixels (N, H, W, 3) as they are; ``float_nchw``: (N, 3, H, W),
            normalized by the caller.
    """

    def __init__(self, tower: ImageTower, input_format: str) -> None:
        super().__init__()
        self.tower = tower
        self.input_format = input_format

    def forward(self, image: Tensor) -> Tensor:
        """The embeddings (N, D)."""
        if self.input_format == "uint8_nhwc":
            found = self.tower(image.permute(0, 3, 1, 2))
        else:
            found = self.tower.backbone(image)
        return functional.normalize(found, dim=1)


class TextTowerForExport(nn.Module):
    """Ids to embeddings of length 1, and what a comparison with them takes."""

    def __init__(self, tower: AnyTextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings (N, D); scale and bias (N, 2), the same for every text."""
        embedding = functional.normalize(self.tower(text), dim=1)
        scaling = torch.cat(scale_and_bias(self.tower)).unsqueeze(0)
        return embedding, scaling + torch.zeros_like(embedding[:, :2])
