"""EfficientNet-Lite0 written from the paper's table, on the names of the published file, with torch alone.

Source: M. Tan and Q. Le, EfficientNet (2019), table 1, with the changes of EfficientNet-Lite: ReLU6, no
squeeze-and-excitation, unscaled first and last stage. TensorFlow's "same" padding; BatchNorm with
epsilon 1e-3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

# Of each stage: blocks, stride of the first.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))


def same_convolution(image: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Pad as TensorFlow does: what does not divide evenly goes to the bottom and to the right."""
    padding = []
    for side, kernel in ((image.shape[3], weight.shape[3]), (image.shape[2], weight.shape[2])):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padding += [total // 2, total - total // 2]
    groups = image.shape[1] // weight.shape[1]
    return functional.conv2d(functional.pad(image, padding), weight, stride=stride, groups=groups)


def logits(weights: Mapping[str, Tensor], image: Tensor) -> Tensor:
    """Return the logits (N, 1000) of normalized images (N, 3, H, W)."""

    def norm(value: Tensor, name: str) -> Tensor:
        own = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(value, *own, training=False, eps=1e-3)

    def step(value: Tensor, convolution: str, norm_name: str, stride: int = 1) -> Tensor:
        return norm(same_convolution(value, weights[f"{convolution}.weight"], stride), norm_name)

    value = functional.relu6(step(image, "_conv_stem", "_bn0", 2))
    number = 0
    for blocks, first_stride in STAGES:
        for block in range(blocks):
            name, stride, before = f"_blocks.{number}.", first_stride if block == 0 else 1, value
            if f"{name}_expand_conv.weight" in weights:
                value = functional.relu6(step(value, f"{name}_expand_conv", f"{name}_bn0"))
            value = functional.relu6(step(value, f"{name}_depthwise_conv", f"{name}_bn1", stride))
            value = step(value, f"{name}_project_conv", f"{name}_bn2")
            if value.shape == before.shape:
                value = value + before
            number += 1
    value = functional.relu6(step(value, "_conv_head", "_bn1"))
    return torch.addmm(weights["_fc.bias"], value.mean(dim=(2, 3)), weights["_fc.weight"].T)
