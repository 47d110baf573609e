"""Low-rank adaptation: trained weights stay as they are, and learn through a product of two thin matrices.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3: W + alpha / rank * B A.
`adapt` replaces layers by ones that hold A and B beside their weights, whose names stay; `merge` adds the
product to the weights and puts the plain layers back, so that bundles and exported files know nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class LoraLinear(nn.Linear):
    """A linear layer with a low-rank addition, which is zero at first.

    Args:
        layer: whose weights it takes over.
        rank: of the addition.
        alpha: the addition is multiplied by alpha / rank.
        dropout: chance that an input of the addition is zero in training.
    """

    lora_down: nn.Parameter
    lora_up: nn.Parameter
    lora_scale: float
    lora_dropout: float

    def __init__(self, layer: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias, self.training = layer.weight, layer.bias, layer.training
        _add_factors(self, layer.in_features, rank, alpha, dropout)

    def forward(self, input: Tensor) -> Tensor:
        """Maps (..., in) to (..., out)."""
        inner = functional.linear(_dropped(self, input), self.lora_down)
        return super().forward(input) + self.lora_scale * functional.linear(inner, self.lora_up)


class LoraConv2d(nn.Conv2d):
    """A convolution in one group with a low-rank addition: to `rank` channels and from there by 1 x 1.

    The arguments are those of `LoraLinear`.
    """

    lora_down: nn.Parameter
    lora_up: nn.Parameter
    lora_scale: float
    lora_dropout: float

    def __init__(self, layer: nn.Conv2d, rank: int, alpha: float, dropout: float) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
            device="meta",
        )
        self.weight, self.bias, self.training = layer.weight, layer.bias, layer.training
        _add_factors(self, layer.weight[0].numel(), rank, alpha, dropout)

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, in, H, W) to (N, out, H, W)."""
        down = self.lora_down.view(-1, *self.weight.shape[1:])
        inner = self._conv_forward(_dropped(self, input), down, None)
        up = self.lora_up[:, :, None, None]
        return super().forward(input) + self.lora_scale * functional.conv2d(inner, up)


def _add_factors(layer: Any, inputs: int, rank: int, alpha: float, dropout: float) -> None:
    weight = layer.weight
    layer.lora_down = nn.Parameter(torch.empty(rank, inputs, device=weight.device, dtype=weight.dtype))
    layer.lora_up = nn.Parameter(torch.zeros(len(weight), rank, device=weight.device, dtype=weight.dtype))
    nn.init.kaiming_uniform_(layer.lora_down, a=math.sqrt(5))  # as the authors' code (microsoft/LoRA) does
    layer.lora_scale, layer.lora_dropout = alpha / rank, dropout


def _dropped(layer: Any, values: Tensor) -> Tensor:
    return functional.dropout(values, layer.lora_dropout, layer.training)


def adapt(
    module: nn.Module, *, rank: int, alpha: float, dropout: float = 0.0, skip: Collection[nn.Module] = ()
) -> int:
    """Gives every linear layer and every convolution in one group within a module a low-rank addition.

    Their own weights, and whatever else the module holds, must be frozen by the caller; the additions learn.
    Layers of subclasses stay as they are: their forward pass is their own.

    Args:
        module: is changed in place.
        rank: of the additions; at most half of a layer's own, or the layer is left out.
        alpha: see `LoraLinear`.
        dropout: see `LoraLinear`.
        skip: layers that get none.

    Returns:
        How many layers were adapted.
    """
    count = 0
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if layer in skip or not isinstance(layer, nn.Linear | nn.Conv2d):
                continue
            if 2 * rank > min(len(layer.weight), layer.weight[0].numel()):
                continue
            if type(layer) is nn.Linear:
                setattr(parent, name, LoraLinear(layer, rank, alpha, dropout))
            elif type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros":
                setattr(parent, name, LoraConv2d(layer, rank, alpha, dropout))
            else:
                continue
            count += 1
    return count


@torch.no_grad()
def merge(module: nn.Module) -> int:
    """Adds what has been learnt to the weights, and puts plain layers back; returns how many."""
    count = 0
    for layer in module.modules():
        if not isinstance(layer, LoraLinear | LoraConv2d):
            continue
        # In float64, which not every device has: the product is summed over the rank, and rounded once.
        weight, up, down = (one.cpu().double() for one in (layer.weight, layer.lora_up, layer.lora_down))
        added = weight + layer.lora_scale * (up @ down).view_as(weight)
        layer.weight.copy_(added)
        plain: Any = nn.Linear if isinstance(layer, LoraLinear) else nn.Conv2d
        del layer.lora_up, layer.lora_down, layer.lora_scale, layer.lora_dropout
        layer.__class__ = plain  # the same layer, so that whoever holds it holds the merged one
        count += 1
    return count
