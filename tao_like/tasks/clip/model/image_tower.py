"""The image tower: one of timm's networks, or three convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tao_like.networks import _torchvision  # noqa: F401
from tao_like.networks.backbones.image_size import size_argument
from tao_like.networks.normalize import Normalize
from tao_like.tasks.clip.model.text_tower import ACTIVATIONS
from tao_like.tasks.clip.presets import CONVOLUTIONS, Preset

# isort: split
import timm
from timm.models.vision_transformer import VisionTransformer

_CHANNELS = (32, 64, 64)
_GROUPS = 8


class Convolutions(nn.Module):
    """Three convolutions and a linear layer that knows positions, for small images.

    Args:
        embed_dim: length of an embedding.
        image_size: side of the input, in pixels; a multiple of 8.
    """

    def __init__(self, embed_dim: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _CHANNELS:
            convolution = nn.Conv2d(channels, width, 3, 2, 1, bias=False)
            layers += [convolution, nn.GroupNorm(_GROUPS, width), nn.GELU()]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels * (-(-image_size // 8)) ** 2, embed_dim, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Maps normalized pixels (N, 3, H, W) to (N, embed_dim)."""
        embedding: Tensor = self.head(self.layers(image).flatten(1))
        return embedding


class ImageTower(nn.Module):
    """Pixels to embeddings.

    Args:
        preset: says which network.
        embed_dim: length of an embedding.
        image_size: side of the input, in pixels.
        activation: of a vision transformer's blocks, a name of ``ACTIVATIONS``.
        mean: of the normalization; std: likewise.
    """

    def __init__(
        self,
        preset: Preset,
        *,
        embed_dim: int,
        image_size: int,
        activation: str,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.normalise = Normalize(mean, std)
        self.backbone = _backbone(preset, embed_dim, image_size, activation)

    def head(self) -> nn.Module:
        """The layer that gives the embedding."""
        # Of timm's networks, or of the convolutions.
        find: Any = getattr(self.backbone, "get_classifier", lambda: self.backbone.head)
        found: nn.Module = find()
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels (N, 3, H, W), 0 to 255, to embeddings (N, embed_dim), not normalized."""
        embedding: Tensor = self.backbone(self.normalise(pixels))
        return embedding


def _backbone(preset: Preset, embed_dim: int, image_size: int, activation: str) -> nn.Module:
    if preset.image == CONVOLUTIONS:
        return Convolutions(embed_dim, image_size)
    arguments: dict[str, Any] = {"num_classes": embed_dim, **preset.arguments}
    patch = preset.arguments.get("patch_size")
    if patch is None:
        arguments |= size_argument(preset.image, (image_size, image_size))
    else:
        arguments["img_size"] = image_size
    is_clip = "_clip_" in preset.image and preset.image.startswith("vit_")
    if is_clip or preset.is_siglip:
        arguments["act_layer"] = ACTIVATIONS[activation]
    if preset.is_siglip:
        arguments["num_classes"] = 0
    network = timm.create_model(preset.image, **arguments)
    if is_clip:
        assert isinstance(network, VisionTransformer)
        # The paper's projection has no bias.
        network.head = nn.Linear(network.num_features, embed_dim, bias=False)
        nn.init.normal_(network.head.weight, std=network.num_features**-0.5)
    return network
