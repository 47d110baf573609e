"""What is done to small images in training, so that an upsampler mends more than it was shown."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BLUR = (0.4, 0.6)
"""Smallest and largest deviation of the blur, in pixels of the small image, as of Ho et al. 2021."""
MOST_NOISE = 0.08
"""Largest deviation of the noise, of a range of 2."""


def blurred(images: Tensor) -> Tensor:
    """Images (N, C, H, W), half of them blurred by a Gaussian of 3 by 3 pixels and a width of their own."""
    count, channels, height, width = images.shape
    draws, chances = torch.rand(2, count, device=images.device)
    spread = (BLUR[0] + (BLUR[1] - BLUR[0]) * draws) * (chances < 0.5)
    side = torch.exp(-0.5 / spread.clamp(min=1e-2) ** 2)
    row = torch.stack([side, torch.ones_like(side), side], dim=1)
    row = row / row.sum(dim=1, keepdim=True)
    kernel = (row[:, :, None] * row[:, None, :]).repeat_interleave(channels, dim=0)[:, None]
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[None]
    found = functional.conv2d(padded, kernel, groups=count * channels)
    return found.view(count, channels, height, width)


def worn(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as after a bad treatment: blurred, resized and noisy, in any order.

    In the manner of BSRGAN (Zhang et al. 2021), without its compression.
    """
    steps = [blurred, _resized, _noisy]
    for number in torch.randperm(len(steps)).tolist():
        images = steps[number](images)
    return images.clamp(-1, 1)


def _resized(images: Tensor) -> Tensor:
    size = images.shape[-2:]
    scale = 0.5 + 0.5 * float(torch.rand(()))
    smaller = [max(1, round(one * scale)) for one in size]
    there = functional.interpolate(images, size=smaller, mode="bilinear", antialias=True)
    back: Tensor = functional.interpolate(there, size=size, mode="bilinear")
    return back


def _noisy(images: Tensor) -> Tensor:
    spread = MOST_NOISE * torch.rand(len(images), 1, 1, 1, device=images.device)
    return images + spread * torch.randn_like(images)
