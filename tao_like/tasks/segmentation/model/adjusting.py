"""What segmentation_models_pytorch's decoders need to train with a batch of one and to export at any size."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPBlock


class SteadyBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization that uses its running statistics where a batch has one value a channel.

    Such is a branch that pools the whole image, with a batch of one: torch refuses to train it, since one
    value has no variance.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """As nn.BatchNorm2d."""
        if self.training and inputs.numel() == inputs.shape[1]:
            return functional.batch_norm(
                inputs, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(inputs)


class BinnedPool2d(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling that exports at any size, also where bins overlap: as two matrix products."""

    def forward(self, inputs: Tensor) -> Tensor:
        """As nn.AdaptiveAvgPool2d."""
        if not torch.onnx.is_in_onnx_export():
            return super().forward(inputs)
        bins = cast("int", self.output_size)
        rows, columns = _bins(inputs.shape[2], bins), _bins(inputs.shape[3], bins)
        return rows @ inputs @ columns.transpose(0, 1)


def _bins(length: int, bins: int) -> Tensor:
    """(bins, length): the fraction of each pixel in each bin, as torch's adaptive pooling takes them."""
    number = torch.arange(bins)
    start = torch.div(number * length, bins, rounding_mode="floor")
    end = torch.div((number + 1) * length + bins - 1, bins, rounding_mode="floor")
    position = torch.arange(length)[None, :]
    is_inside = ((position >= start[:, None]) & (position < end[:, None])).float()
    return is_inside / is_inside.sum(dim=1, keepdim=True)


class PyramidBlock(nn.Module):
    """A level of PSPNet's pyramid: the library's, but with the centers of pixels at half numbers.

    Args:
        block: the library's.
    """

    def __init__(self, block: PSPBlock) -> None:
        super().__init__()
        self.pool = block.pool

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, channels, H, W) to the level's channels at the same size."""
        return functional.interpolate(
            self.pool(inputs), inputs.shape[2:], mode="bilinear", align_corners=False
        )


def adjust(decoder: nn.Module) -> None:
    """Puts these in the place of a decoder's own modules; parameters and their names stay."""
    for name, module in list(decoder.named_children()):
        adjust(module)
        replacement = _replacement(module)
        if replacement is not None:
            setattr(decoder, name, replacement)


def _replacement(module: nn.Module) -> nn.Module | None:
    if type(module) is nn.BatchNorm2d:
        steady = SteadyBatchNorm2d(module.num_features, module.eps, module.momentum)
        for name, parameter in module.named_parameters():
            setattr(steady, name, parameter)
        for name, buffer in module.named_buffers():
            setattr(steady, name, buffer)
        return steady
    if type(module) is nn.AdaptiveAvgPool2d:
        size = module.output_size
        bins = size if isinstance(size, int) else (size or (None,))[0]
        return BinnedPool2d(bins) if bins is not None and bins > 1 else None
    return PyramidBlock(module) if isinstance(module, PSPBlock) else None
