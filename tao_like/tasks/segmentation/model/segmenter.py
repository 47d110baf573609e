"""A network that tells the class of every pixel, and the form in which it ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.networks.normalize import Normalize
from tao_like.tasks.segmentation.model.adjusting import adjust


class Segmenter(nn.Module):
    """Normalization, and a network of segmentation_models_pytorch.

    Args:
        network: with encoder, decoder and segmentation head.
        mean: of the normalization, 0 to 1.
        std: of the normalization.
    """

    CLASS_OUTPUT: ClassVar[str] = "network.segmentation_head."
    """How the names of the tensors begin that tell classes: new where the classes differ."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalise = Normalize(mean, std)
        self.network = network
        adjust(cast("nn.Module", network.decoder))

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels (N, 3, H, W), 0 to 255, to logits (N, classes, H, W); H and W are multiples of 32."""
        return self.from_normalized(self.normalise(pixels))

    def from_normalized(self, inputs: Tensor) -> Tensor:
        """As ``forward``, for inputs that the caller has normalized."""
        network = cast("Any", self.network)
        logits = network.segmentation_head(network.decoder(network.encoder(inputs)))
        if logits.shape[-2:] == inputs.shape[-2:]:
            return logits
        return functional.interpolate(logits, inputs.shape[-2:], mode="bilinear", align_corners=False)

    @property
    def backbone(self) -> nn.Module:
        """The part with pretrained weights."""
        return cast("nn.Module", self.network.encoder)

    @property
    def class_layer(self) -> nn.Module:
        """The last layer, whose channels are the classes."""
        return cast("nn.Sequential", self.network.segmentation_head)[0]


class SegmenterForExport(nn.Module):
    """A segmenter whose output needs no further work.

    Args:
        network: the trained network.
        input_format: ``uint8_nhwc``: pixels (N, H, W, 3) as they are; ``float_nchw``: (N, 3, H, W),
            normalized by the caller.
        probabilities: give the probabilities of all classes in the place of the likeliest class.
    """

    def __init__(self, network: Segmenter, input_format: str, *, probabilities: bool) -> None:
        super().__init__()
        self.network = network
        self.input_format = input_format
        self.probabilities = probabilities

    def forward(self, image: Tensor) -> Tensor:
        """Maps the input to probabilities (N, classes, H, W), or to class numbers (N, H, W) uint8."""
        if self.input_format == "uint8_nhwc":
            logits = self.network(image.permute(0, 3, 1, 2))
        else:
            logits = self.network.from_normalized(image)
        return shipped(logits, probabilities=self.probabilities)


def shipped(logits: Tensor, *, probabilities: bool) -> Tensor:
    """The form in which logits (N, classes, H, W) ship."""
    if probabilities:
        return logits.softmax(dim=1)
    return logits.argmax(dim=1).to(torch.uint8)
