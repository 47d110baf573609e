"""What is changed until it fits: pixels, codes of a dVAE, or strokes of a pen."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from tao_like.tasks.text_to_image.model.dvae import DVAE, unmapped
from tao_like.tasks.text_to_image.spec_blocks.optimise import CANVASES

PIXELS, CODES, STROKES = CANVASES
COARSEST = 4
"""Side of the coarsest grid of a canvas of pixels."""
CONTROL_POINTS, CURVE_POINTS = 4, 16
WIDTHS = (0.02, 0.08)
"""Of a stroke at the start, as a fraction of the side."""
EDGE = 0.5
"""Pixels over which a stroke's edge fades."""


class Canvas(nn.Module, ABC):
    """One image (1, 3, side, side), 0 to 1, with parameters that gradients change."""

    @abstractmethod
    def forward(self) -> Tensor:
        """The image as it is now."""


class PixelCanvas(Canvas):
    """Pixels, as a sum of grids: each step moves large parts of the image as well as small ones.

    Args:
        side: in pixels.
        generator: of the start, near grey.
    """

    def __init__(self, side: int, generator: torch.Generator) -> None:
        super().__init__()
        sides = [side]
        while sides[-1] > COARSEST:
            sides.append(max(COARSEST, sides[-1] // 2))
        self.side = side
        self.grids = nn.ParameterList(
            0.1 * torch.randn(1, 3, one, one, generator=generator) / math.sqrt(len(sides)) for one in sides
        )

    def forward(self) -> Tensor:
        """The image as it is now."""
        large = [
            nn.functional.interpolate(one, size=self.side, mode="bilinear", align_corners=False)
            for one in self.grids
        ]
        return torch.sigmoid(2 * torch.stack(large).sum(dim=0))


class CodeCanvas(Canvas):
    """Values that a trained dVAE rounds to codes and decodes, as VQGAN-CLIP's (Crowson et al. 2022).

    Args:
        dvae: with `FSQ`; it is not changed.
        side: of the image, in pixels.
        generator: of the start.
    """

    def __init__(self, dvae: DVAE, side: int, generator: torch.Generator) -> None:
        super().__init__()
        assert dvae.fsq is not None
        grid = side // dvae.scale
        self.values = nn.Parameter(torch.randn(1, len(dvae.fsq.levels), grid, grid, generator=generator))
        # Not as a module of this one: its weights are none of the canvas's parameters.
        self._dvae = [dvae.eval()]

    def forward(self) -> Tensor:
        """The image as it is now; the gradient passes through the rounding."""
        (dvae,) = self._dvae
        assert dvae.fsq is not None
        found: Tensor = unmapped(dvae.decoder(dvae.fsq.quantize(self.values)))
        return found


class StrokeCanvas(Canvas):
    """Bézier curves of a pen, one painted over another, as CLIPDraw's (Frans et al. 2022).

    A pixel is covered by how far it is from the nearest of a curve's points, with soft edges.

    Args:
        side: of the image, in pixels.
        count: of strokes.
        generator: of the start.
    """

    def __init__(self, side: int, count: int, generator: torch.Generator) -> None:
        super().__init__()
        first = torch.rand(count, 1, 2, generator=generator)
        steps = 0.15 * torch.randn(count, CONTROL_POINTS - 1, 2, generator=generator)
        self.points = nn.Parameter(torch.cat([first, first + steps.cumsum(dim=1)], dim=1))
        low, high = WIDTHS
        self.widths = nn.Parameter(low + (high - low) * torch.rand(count, generator=generator))
        self.colors = nn.Parameter(torch.randn(count, 4, generator=generator))
        position = (torch.arange(side) + 0.5) / side
        self.register_buffer("places", torch.stack(torch.meshgrid(position, position, indexing="xy"), dim=-1))
        self.places: Tensor
        self.register_buffer("weights", bernstein(CURVE_POINTS))
        self.weights: Tensor

    def forward(self) -> Tensor:
        """The image as it is now, on white."""
        curves = torch.einsum("pk,nkd->npd", self.weights, self.points)
        side = self.places.shape[0]
        away = torch.cdist(self.places.view(1, -1, 2).expand(len(curves), -1, -1), curves).amin(dim=2)
        inside = torch.sigmoid((self.widths.abs()[:, None] / 2 - away) * side / EDGE)
        colors = torch.sigmoid(self.colors)
        image = torch.ones(3, side * side, device=away.device)
        for cover, color in zip(inside, colors, strict=True):
            alpha = cover * color[3]
            image = (1 - alpha) * image + alpha * color[:3, None]
        return image.view(1, 3, side, side)


def bernstein(count: int) -> Tensor:
    """Weights of four control points for points of a cubic Bézier curve, (count, 4)."""
    t = torch.linspace(0, 1, count)
    return torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], dim=1)
