"""The parts that YOLOX is built of (Ge et al. 2021, "YOLOX: Exceeding YOLO Series in 2021")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORM_EPS = 1e-3
NORM_MOMENTUM = 0.03
"""Batch norm's constants, as in the published networks."""


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, SiLU or a leaky ReLU.

    Args:
        channels: of the input.
        width: channels of the output.
        kernel: side, odd; the padding keeps the size.
        stride: 1 or 2.
        groups: of the convolution.
        slope: of a leaky ReLU below zero; None: SiLU.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        slope: float | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=NORM_EPS, momentum=NORM_MOMENTUM)
        self.act = nn.SiLU(inplace=True) if slope is None else nn.LeakyReLU(slope, inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to (N, width, H / stride, W / stride)."""
        return self.act(self.norm(self.conv(inputs)))


class SeparableConv(nn.Module):
    """A depthwise convolution and a pointwise one, each with norm and activation; for the nano size."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(channels, channels, kernel, stride, groups=channels)
        self.pointwise = ConvNormAct(channels, width, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to (N, width, H / stride, W / stride)."""
        return self.pointwise(self.depthwise(inputs))


def spatial_conv(channels: int, width: int, stride: int = 1, *, separable: bool) -> nn.Module:
    """A 3 x 3 convolution with norm and activation: whole, or depthwise and pointwise."""
    kind = SeparableConv if separable else ConvNormAct
    return kind(channels, width, 3, stride)


class Bottleneck(nn.Module):
    """1 x 1, then 3 x 3, with the input added where ``shortcut``."""

    def __init__(self, channels: int, *, shortcut: bool, separable: bool) -> None:
        super().__init__()
        self.reduce = ConvNormAct(channels, channels, 1)
        self.conv = spatial_conv(channels, channels, separable=separable)
        self.shortcut = shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to the same shape."""
        outputs = self.conv(self.reduce(inputs))
        return outputs + inputs if self.shortcut else outputs


class CspLayer(nn.Module):
    """Cross-stage partial layer (Wang et al. 2020): half of the channels pass the bottlenecks, half go round.

    Args:
        channels: of the input.
        width: channels of the output.
        depth: number of bottlenecks.
        shortcut: whether these add their input.
        separable: whether their 3 x 3 convolutions are depthwise and pointwise.
    """

    def __init__(
        self, channels: int, width: int, depth: int, *, shortcut: bool = True, separable: bool = False
    ) -> None:
        super().__init__()
        hidden = width // 2
        self.deep = ConvNormAct(channels, hidden, 1)
        self.direct = ConvNormAct(channels, hidden, 1)
        self.blocks = nn.Sequential(
            *(Bottleneck(hidden, shortcut=shortcut, separable=separable) for _ in range(depth))
        )
        self.join = ConvNormAct(2 * hidden, width, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to (N, width, H, W)."""
        return self.join(torch.cat([self.blocks(self.deep(inputs)), self.direct(inputs)], dim=1))


class PyramidPooling(nn.Module):
    """Spatial pyramid pooling: the input beside its maxima over 5, 9 and 13 pixels (He et al. 2014)."""

    def __init__(self, channels: int, width: int, slope: float | None = None) -> None:
        super().__init__()
        hidden = channels // 2
        kernels = (5, 9, 13)
        self.reduce = ConvNormAct(channels, hidden, 1, slope=slope)
        self.pools = nn.ModuleList(nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in kernels)
        self.join = ConvNormAct(hidden * (len(kernels) + 1), width, 1, slope=slope)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to (N, width, H, W)."""
        reduced = self.reduce(inputs)
        return self.join(torch.cat([reduced, *(pool(reduced) for pool in self.pools)], dim=1))


class Focus(nn.Module):
    """Four neighbouring pixels side by side as channels, then a convolution: half the size without a loss."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = ConvNormAct(4 * channels, width, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps (N, channels, H, W), with even sides, to (N, width, H / 2, W / 2)."""
        corners = [inputs[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(corners, dim=1))
