"""The discrete variational auto-encoder of DALL-E, in the layout of its release (openai/DALL-E)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LOGIT_LAPLACE_EPS = 0.1
"""Pixels are mapped to 0.8 x + 0.1, so that their logit is finite (Ramesh et al. 2021, appendix A.3)."""


class ResidualBlock(nn.Module):
    """Four convolutions beside a path without any.

    Args:
        inputs: channels.
        outputs: channels; inside they are a quarter of it.
        kernels: of the four convolutions.
        gain: factor of the branch: one over the square of the number of blocks.
    """

    def __init__(self, inputs: int, outputs: int, kernels: Sequence[int], gain: float) -> None:
        super().__init__()
        hidden = outputs // 4
        self.gain = gain
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        widths = [inputs, hidden, hidden, hidden, outputs]
        layers: list[nn.Module] = []
        for number, kernel in enumerate(kernels):
            layers += [
                nn.ReLU(),
                nn.Conv2d(widths[number], widths[number + 1], kernel, padding=kernel // 2),
            ]
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        return self.skip(x) + self.gain * self.branch(x)


class Encoder(nn.Module):
    """Pixels to a value for each code at each place.

    Args:
        outputs: channels: codes of the vocabulary, or dimensions of `FSQ`.
        width: of the first group; the others have 2, 4, 8 times as much.
        groups: each but the last halves the side.
        blocks: of each group.
    """

    def __init__(self, outputs: int, width: int = 256, groups: int = 4, blocks: int = 2) -> None:
        super().__init__()
        gain = 1 / (groups * blocks) ** 2
        layers: list[nn.Module] = [nn.Conv2d(3, width, 7, padding=3)]
        channels = width
        for group in range(groups):
            wanted = width * 2**group
            for _ in range(blocks):
                layers.append(ResidualBlock(channels, wanted, (3, 3, 3, 1), gain))
                channels = wanted
            if group + 1 < groups:
                layers.append(nn.MaxPool2d(2))
        layers += [nn.ReLU(), nn.Conv2d(channels, outputs, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, outputs, H / f, W / f) with f = 2 ** (groups - 1)."""
        return self.layers(pixels)


class Decoder(nn.Module):
    """One-hot codes, or values of `FSQ`, to location and logarithmic scale of each pixel.

    Args:
        inputs: channels: codes of the vocabulary, or dimensions.
        width, groups, blocks: as of the encoder, whose mirror it is.
        first: channels after the first convolution.
    """

    def __init__(
        self, inputs: int, width: int = 256, groups: int = 4, blocks: int = 2, first: int = 128
    ) -> None:
        super().__init__()
        gain = 1 / (groups * blocks) ** 2
        layers: list[nn.Module] = [nn.Conv2d(inputs, first, 1)]
        channels = first
        for group in reversed(range(groups)):
            wanted = width * 2**group
            for _ in range(blocks):
                layers.append(ResidualBlock(channels, wanted, (1, 3, 3, 3), gain))
                channels = wanted
            if group:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        layers += [nn.ReLU(), nn.Conv2d(channels, 6, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, 6, H, W)."""
        return self.layers(codes)


class FSQ(nn.Module):
    """Finite scalar quantization (Mentzer et al. 2023): each dimension is rounded to one of a few levels.

    It has no codebook that could collapse, no temperature and no weight to tune.

    Args:
        levels: of each dimension; their product is the number of codes.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.codes = math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32), persistent=False)
        strides = [math.prod(levels[:number]) for number in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        self.levels: Tensor
        self.strides: Tensor

    def quantize(self, values: Tensor) -> Tensor:
        """(N, D, h, w) of any size to the nearest levels, each from -1 to 1; the gradient passes through."""
        half = (self.levels.view(1, -1, 1, 1) - 1) * (1 - 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0).view(1, -1, 1, 1)
        shift = torch.atanh(offset / half)
        bounded = torch.tanh(values + shift) * half - offset
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / torch.floor(self.levels / 2).view(1, -1, 1, 1)

    def indices(self, quantized: Tensor) -> Tensor:
        """(N, D, h, w) as `quantize` gives it to the numbers of the codes (N, h, w)."""
        half = torch.floor(self.levels / 2).view(1, -1, 1, 1)
        digits = (quantized * half + half).round().long()
        return (digits * self.strides.view(1, -1, 1, 1)).sum(dim=1)

    def values(self, indices: Tensor) -> Tensor:
        """The numbers of codes (N, h, w) back to (N, D, h, w)."""
        levels = self.levels.long().view(1, -1, 1, 1)
        digits = torch.div(indices[:, None], self.strides.view(1, -1, 1, 1), rounding_mode="floor") % levels
        half = torch.floor(self.levels / 2).view(1, -1, 1, 1)
        return (digits - half) / half


class DVAE(nn.Module):
    """Images to a grid of codes and back.

    Args:
        codes: size of the vocabulary, for Gumbel-softmax; None: that of ``levels``.
        levels: of `FSQ`; empty: Gumbel-softmax, as in the paper.
        width: of encoder and decoder.
        groups: the side of the grid is that of the image over 2 ** (groups - 1).
        blocks: of each group.
    """

    def __init__(
        self,
        *,
        codes: int | None = None,
        levels: Sequence[int] = (),
        width: int = 256,
        groups: int = 4,
        blocks: int = 2,
    ) -> None:
        super().__init__()
        self.fsq = FSQ(levels) if levels else None
        self.codes = self.fsq.codes if self.fsq is not None else int(codes or 8192)
        channels = len(levels) if levels else self.codes
        self.scale = 2 ** (groups - 1)
        self.encoder = Encoder(channels, width, groups, blocks)
        # The encoder's first values are so near to each other that all would be rounded to one code.
        self.norm = nn.BatchNorm2d(channels, affine=False) if self.fsq is not None else None
        self.decoder = Decoder(channels, width, groups, blocks, first=max(width // 2, 1))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W), 0 to 1, to the numbers of their codes (N, h, w)."""
        values = self._values(pixels)
        if self.fsq is None:
            return values.argmax(dim=1)
        return self.fsq.indices(self.fsq.quantize(values))

    def _values(self, pixels: Tensor) -> Tensor:
        """What the encoder makes of pixels (N, 3, H, W), 0 to 1."""
        values: Tensor = self.encoder(mapped(pixels))
        return values if self.norm is None else self.norm(values)

    def decode(self, codes: Tensor) -> Tensor:
        """Numbers of codes (N, h, w) to pixels (N, 3, H, W), 0 to 1."""
        if self.fsq is None:
            one_hot = functional.one_hot(codes, self.codes).permute(0, 3, 1, 2).float()
            return unmapped(self.decoder(one_hot))
        return unmapped(self.decoder(self.fsq.values(codes)))

    def forward(self, pixels: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """What is learnt by.

        With Gumbel-softmax the soft weights are used in both directions, as its authors did (they say so in
        openai/DALL-E, issue 1); in evaluation mode the likeliest code alone, and no chance.

        Args:
            pixels: (N, 3, H, W), 0 to 1.
            temperature: of the relaxation.

        Returns:
            Statistics of the pixels (N, 6, H, W), and the Kullback-Leibler divergence of the codes to the
            uniform distribution in nats an image, a scalar; 0 with `FSQ`.
        """
        values = self._values(pixels)
        if self.fsq is not None:
            return self.decoder(self.fsq.quantize(values)), values.new_zeros(())
        if self.training:
            soft = functional.gumbel_softmax(values, tau=temperature, dim=1)
        else:
            soft = functional.one_hot(values.argmax(dim=1), self.codes).permute(0, 3, 1, 2).to(values.dtype)
        log_q = functional.log_softmax(values, dim=1)
        kl = (log_q.exp() * (log_q + math.log(self.codes))).sum(dim=(1, 2, 3)).mean()
        return self.decoder(soft), kl


def mapped(pixels: Tensor) -> Tensor:
    """Pixels, 0 to 1, away from the ends."""
    return (1 - 2 * LOGIT_LAPLACE_EPS) * pixels + LOGIT_LAPLACE_EPS


def unmapped(statistics: Tensor) -> Tensor:
    """Statistics (N, 6, H, W) to pixels (N, 3, H, W), 0 to 1: the location of each."""
    found = (torch.sigmoid(statistics[:, :3]) - LOGIT_LAPLACE_EPS) / (1 - 2 * LOGIT_LAPLACE_EPS)
    return found.clamp(0, 1)


def logit_laplace_loss(statistics: Tensor, pixels: Tensor) -> Tensor:
    """Negative logarithm of the density of pixels, in nats an image (Ramesh et al. 2021, equation 2).

    Args:
        statistics: (N, 6, H, W): locations, then logarithms of scales, which are held above -6.
        pixels: (N, 3, H, W), 0 to 1.
    """
    x = mapped(pixels)
    location, log_scale = statistics[:, :3], statistics[:, 3:].clamp(min=-6)
    distance = (torch.logit(x) - location).abs()
    density = math.log(2) + log_scale + torch.log(x * (1 - x)) + distance * torch.exp(-log_scale)
    return density.sum(dim=(1, 2, 3)).mean()
