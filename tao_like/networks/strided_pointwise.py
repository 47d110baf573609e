"""A guard against an error of oneDNN in the gradients of convolutions of 1 x 1 with a stride.

Where the channels of a pixel lie together in memory (channels_last), the gradient of the weights writes
beyond oneDNN's workspace if the layer reads fewer channels than it computes at a time: 16 with AVX-512, 8
with AVX2. The weights learn from wrong gradients, or the process dies (oneDNN issue 6035; torch 2.13, 2.14).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

CHANNELS_AT_A_TIME = 16


def is_in_danger(layer: nn.Module) -> bool:
    """Whether the gradient of a layer's weights may be such a one on some processor."""
    return (
        isinstance(layer, nn.Conv2d)
        and set(layer.kernel_size) == {1}
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < CHANNELS_AT_A_TIME
    )


@contextmanager
def safe_gradients(network: nn.Module) -> Iterator[None]:
    """Inside it, layers in danger compute channel by channel (contiguous); all others as they are.

    It is for every place that asks for gradients: networks come to such layers by pruning, from foreign files
    and by a small width, and inputs to their layout by the layers before.
    """
    handles = []
    for layer in network.modules():
        if is_in_danger(layer):
            # With one value a channel both layouts count as contiguous; only a copy has the right strides.
            weight = layer.weight
            assert isinstance(weight, Tensor)
            weight.data = weight.data.clone(memory_format=torch.contiguous_format)
            handles.append(layer.register_forward_pre_hook(_channel_by_channel))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _channel_by_channel(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    del layer
    return tuple(each.contiguous() for each in inputs)
