"""Smaller images to larger ones, by diffusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tao_like.tasks.text_to_image.model.diffusion_networks import in_patches
from tao_like.tasks.text_to_image.model.scaling import enlarged
from tao_like.tasks.text_to_image.model.unet import UNet, UNetSize


class Upsampler(nn.Module):
    """A noisy image and a smaller one to the prediction; all convolutions, so it knows any size.

    Args:
        size: of the U-Net, without attention.
        scale: how many times as large its images are.
        patch: as of `GlideNetwork`.
        residual: it says the difference to the smaller image, enlarged: for images as predictions.
    """

    def __init__(self, size: UNetSize, scale: int, *, patch: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.scale, self.patch, self.residual = scale, patch, residual
        self.unet = UNet(size, 6 * patch**2, 3 * patch**2)

    def forward(self, x: Tensor, timesteps: Tensor, low: Tensor) -> Tensor:
        """The prediction.

        Args:
            x: (N, 3, H, W), noisy.
            timesteps: (N,).
            low: (N, 3, H / scale, W / scale), -1 to 1.

        Returns:
            (N, 3, H, W).
        """
        large = enlarged(low, self.scale)
        given = torch.cat([x, large], dim=1)
        found = in_patches(self.unet, given, timesteps, None, None, self.patch, coordinates=False)
        return large + found if self.residual else found
