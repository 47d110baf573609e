"""Convolutions over the map seen from above."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tao_like.tasks.pointpillars.model.pillars import NORM_EPS, NORM_MOMENTUM


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, NORM_EPS, NORM_MOMENTUM)


class BevBackbone(nn.Module):
    """Blocks of 3 x 3 convolutions, each coarser, whose maps are enlarged to one size and laid together.

    PointPillars, section 2.2.

    Args:
        channels_in: of the map.
        layers: convolutions of each block behind its first.
        strides: of each block's first convolution.
        channels: of each block.
        enlargements: factor by which each block's map is enlarged.
        enlarged_channels: of each enlarged map.
    """

    def __init__(
        self,
        channels_in: int,
        layers: Sequence[int],
        strides: Sequence[int],
        channels: Sequence[int],
        enlargements: Sequence[int],
        enlarged_channels: Sequence[int],
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.enlarged = nn.ModuleList()
        width = channels_in
        for number, count in enumerate(layers):
            parts: list[nn.Module] = []
            for layer in range(count + 1):
                stride = strides[number] if layer == 0 else 1
                conv = nn.Conv2d(width, channels[number], 3, stride, padding=1, bias=False)
                parts += [conv, _norm(channels[number]), nn.ReLU(inplace=True)]
                width = channels[number]
            self.blocks.append(nn.Sequential(*parts))
            factor, out = enlargements[number], enlarged_channels[number]
            self.enlarged.append(
                nn.Sequential(
                    nn.ConvTranspose2d(width, out, factor, factor, bias=False),
                    _norm(out),
                    nn.ReLU(inplace=True),
                )
            )
        self.channels_out = sum(enlarged_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, channels, H, W) to (B, sum of the enlarged channels, h, w)."""
        maps = []
        for block, enlarged in zip(self.blocks, self.enlarged, strict=True):
            x = block(x)
            maps.append(enlarged(x))
        return torch.cat(maps, dim=1)
