"""A CLIP of noisy images, whose gradient is written out, so that it ships as a graph without autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao_like.tasks.text_to_image.model.parts import timestep_embedding
from tao_like.tasks.text_to_image.model.towers import FIRST_SCALE, GROUPS, LARGEST_SCALE, TextTower

EPS = 1e-5
"""Added to a variance, as by torch's norms."""


@dataclass(frozen=True)
class Seen:
    """What a layer has computed on the way, for its gradient.

    Attributes:
        normed: (N, groups, values), of mean 0 and variance 1.
        inverse: (N, groups, 1): one over the deviation.
        factor: (N, C, 1, 1): what the timestep has multiplied by.
        before: (N, C, H, W): what SiLU was given.
    """

    normed: Tensor
    inverse: Tensor
    factor: Tensor
    before: Tensor


class NoisedLayer(nn.Module):
    """A convolution that halves the side, a group norm, a factor and a shift by the timestep, and SiLU.

    Args:
        inputs, outputs: channels.
        time: width of the timestep's embedding.
        side: of the images that it takes.
    """

    def __init__(self, inputs: int, outputs: int, time: int, side: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.time = nn.Linear(time, 2 * outputs)
        self.groups = math.gcd(GROUPS, outputs)
        self.odd = side % 2

    def forward(self, x: Tensor, time: Tensor) -> tuple[Tensor, Seen]:
        """(N, inputs, H, H) and (N, time) to (N, outputs, H / 2, H / 2), rounded up, and what was seen."""
        found = self.conv(x).float()
        grouped = found.reshape(found.shape[0], self.groups, -1)
        apart = grouped - grouped.mean(dim=2, keepdim=True)
        inverse = torch.rsqrt(apart.square().mean(dim=2, keepdim=True) + EPS)
        normed = apart * inverse
        scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)
        before = normed.reshape(found.shape) * (1 + scale) + shift
        return functional.silu(before), Seen(normed, inverse, 1 + scale, before)

    def backward(self, gradient: Tensor, seen: Seen) -> Tensor:
        """The gradient with respect to ``x``, from that with respect to the output."""
        gate = torch.sigmoid(seen.before)
        flowing = gradient * gate * (1 + seen.before * (1 - gate)) * seen.factor
        grouped = flowing.reshape(seen.normed.shape)
        along = (grouped * seen.normed).mean(dim=2, keepdim=True)
        of_conv = seen.inverse * (grouped - grouped.mean(dim=2, keepdim=True) - seen.normed * along)
        return functional.conv_transpose2d(
            of_conv.reshape(flowing.shape), self.conv.weight, stride=2, padding=1, output_padding=1 - self.odd
        )


class NoisedImageTower(nn.Module):
    """Noisy images and their timesteps to embeddings.

    Args:
        channels: of the convolutions.
        side: of the images, in pixels.
        embedding: length of an embedding.
    """

    def __init__(self, channels: Sequence[int], side: int, embedding: int) -> None:
        super().__init__()
        self.width = 2 * channels[0]
        time = 2 * self.width
        self.time = nn.Sequential(nn.Linear(self.width, time), nn.SiLU())
        self.layers = nn.ModuleList()
        inputs = 3
        for outputs in channels:
            self.layers.append(NoisedLayer(inputs, outputs, time, side))
            inputs, side = outputs, -(-side // 2)
        self.shape = (inputs, side, side)
        self.proj = nn.Linear(inputs * side**2, embedding, bias=False)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy images (N, 3, H, W) and timesteps (N,) to embeddings (N, embedding) of length 1."""
        return functional.normalize(self._run(x, timesteps)[0], dim=1)

    def gradient(self, x: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """The gradient of the dot product with texts (N, embedding) with respect to x, of its shape."""
        found, seen = self._run(x, timesteps)
        length = found.norm(dim=1, keepdim=True).clamp(min=1e-12)
        unit = found / length
        of_found = (text - (text * unit).sum(dim=1, keepdim=True) * unit) / length
        flowing = (of_found @ self.proj.weight).reshape(-1, *self.shape)
        for layer, one in zip(reversed(self.layers), reversed(seen), strict=True):
            assert isinstance(layer, NoisedLayer)
            flowing = layer.backward(flowing, one)
        return flowing

    def _run(self, x: Tensor, timesteps: Tensor) -> tuple[Tensor, list[Seen]]:
        """The embedding before its length is made 1, and what each layer has seen."""
        time = self.time(timestep_embedding(timesteps, self.width))
        kept = []
        for layer in self.layers:
            x, seen = layer(x, time)
            kept.append(seen)
        return self.proj(x.flatten(1)), kept


class NoisedTowers(nn.Module):
    """Both towers, and the scale of their cosines, as `Towers`."""

    def __init__(self, image: NoisedImageTower, text: TextTower) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.scale = nn.Parameter(torch.full((1,), FIRST_SCALE))

    def forward(self, x: Tensor, timesteps: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of noisy images (N, 3, H, W) and of captions (N, length), and the scale."""
        return self.image(x, timesteps), self.text(text)[0], self.scale


class GuideTextForExport(nn.Module):
    """Captions to their embeddings."""

    def __init__(self, towers: NoisedTowers) -> None:
        super().__init__()
        self.text = towers.text

    def forward(self, text: Tensor) -> Tensor:
        """(N, length) to (N, D), of length 1, or 0 where there is no caption."""
        found: Tensor = self.text(text)[0]
        return found


class GuideForExport(nn.Module):
    """Where to an image should go."""

    def __init__(self, towers: NoisedTowers) -> None:
        super().__init__()
        self.towers = towers

    @torch.no_grad()
    def forward(self, x: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """The gradient of the scaled cosines with respect to x (N, 3, H, W), as in GLIDE's released code."""
        scale = self.towers.scale.clamp(max=LARGEST_SCALE).exp()
        return scale * self.towers.image.gradient(x, timesteps, text)
