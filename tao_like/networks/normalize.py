"""Scaling pixels to what a network's weights were trained with, as a part of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Pixels of 0 to 255 to the range that the backbone's weights were trained with.

    Mean and standard deviation (of values from 0 to 1) are buffers: they belong to the weights and
    travel with them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps (N, 3, H, W), uint8 or float from 0 to 255, to normalized float."""
        scale = (1.0 / (255.0 * self.std)).view(-1, 1, 1)
        shift = (-self.mean / self.std).view(-1, 1, 1)
        return pixels.to(self.mean.dtype) * scale + shift
