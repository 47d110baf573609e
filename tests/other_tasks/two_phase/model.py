"""The network: an encoder that learns mean colors, and a head that tells classes by its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tao_like.networks.normalize import Normalize


class Encoder(nn.Module):
    """Pixels (N, 3, H, W), 0 to 255, to features (N, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.normalise = Normalize([0.5] * 3, [0.25] * 3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.color = nn.Linear(channels, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        """The features, averaged over the image."""
        return self.layers(self.normalise(pixels)).mean(dim=(2, 3))


class Head(nn.Module):
    """Features (N, channels) to logits (N, classes)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, 32), nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, features: Tensor) -> Tensor:
        """The logits."""
        return self.layers(features)


class ColorNetwork(nn.Module):
    """Both parts."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(channels)
        self.head = Head(channels, num_classes)

    def parts(self) -> dict[str, nn.Module]:
        """The parts that a bundle keeps apart."""
        return {"encoder": self.encoder, "head": self.head}

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels to logits."""
        return self.head(self.encoder(pixels))


class EncoderForExport(nn.Module):
    """Pixels (N, H, W, 3) uint8 to features."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        """The features."""
        return self.encoder(image.permute(0, 3, 1, 2))


class HeadForExport(nn.Module):
    """Features to probabilities."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """The probabilities."""
        return torch.softmax(self.head(features), dim=1)
