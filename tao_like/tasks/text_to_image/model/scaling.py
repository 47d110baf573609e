"""Images at other sizes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def reduced(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, H) as (N, C, side, side), each pixel the mean of its square; H is a multiple of it."""
    scale = images.shape[-1] // side
    return functional.avg_pool2d(images, scale) if scale > 1 else images


def enlarged(images: Tensor, scale: int) -> Tensor:
    """Images (N, C, H, W) so many times as large, bilinearly."""
    return functional.interpolate(images, scale_factor=float(scale), mode="bilinear", align_corners=False)
