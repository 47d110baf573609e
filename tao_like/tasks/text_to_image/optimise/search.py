"""From a prompt to an image, step by step along the gradient of how well it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from tao_like.runtime.generation.base import IMAGE, SEED, TEXT, Arrays, GraphCall
from tao_like.runtime.inputs.text import TextPreprocessing
from tao_like.tasks.text_to_image.around import AroundGenerator
from tao_like.tasks.text_to_image.optimise.canvases import Canvas
from tao_like.tasks.text_to_image.rerank import spoken
from tao_like.tasks.text_to_image.spec_blocks.optimise import OptimiseSpec

TURN = 15.0
"""Largest turn of a cut-out, in degrees."""
SMALLEST = 0.7
"""Side of the smallest cut-out, as a fraction of the image's."""
MOST_NOISE = 0.1
"""Largest deviation of a cut-out's noise, of a range of 1."""


class Guide(Protocol):
    """What says how well images fit: a `BundleJudge`."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that it looks at."""

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W), 0 to 255, to (N, D) of length 1, with gradients."""

    def embed_texts(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """(N, D) of length 1."""


@dataclass(frozen=True)
class Optimised(AroundGenerator):
    """A way of generating that runs no graphs: each image is sought on a canvas of its own.

    Attributes:
        guide: opened when the first image is asked for.
        text: how captions became tokens; they are turned back into words for the guide.
        canvas: a new one for a generator of random numbers.
        settings: how long and with what steps.
    """

    guide: Callable[[], Guide]
    text: Callable[[], TextPreprocessing]
    canvas: Callable[[torch.Generator], Canvas]
    settings: OptimiseSpec

    kind: ClassVar[str] = "optimised"

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Images for captions and seeds; see `Generator`. One by one: a seed's image depends on no other."""
        del call
        words = self.text()
        images = [
            self.sought(spoken(row, words), int(seed))
            for row, seed in zip(given[TEXT], given[SEED], strict=True)
        ]
        return {IMAGE: np.stack(images)}

    def sought(self, prompt: str, seed: int) -> npt.NDArray[np.float32]:
        """The image (H, W, 3), 0 to 1."""
        random = torch.Generator().manual_seed(seed % 2**63)
        guide = self.guide()
        wanted = torch.from_numpy(guide.embed_texts([prompt]))
        with torch.inference_mode(False), torch.enable_grad():
            wanted = wanted.clone()
            canvas = self.canvas(random)
            optimizer = torch.optim.Adam(canvas.parameters(), lr=self.settings.lr)
            for _ in range(self.settings.steps):
                parts = cut_outs(canvas(), guide.image_size, self.settings.cutouts, random)
                loss = great_circle(guide.embed_pixels(255 * parts), wanted).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            found: npt.NDArray[np.float32] = canvas()[0].detach().permute(1, 2, 0).numpy()
        return found

    def changed(self, **settings: Any) -> Optimised:
        """See `Generator`; nothing of it can be changed."""
        del settings
        return self


def great_circle(one: Tensor, other: Tensor) -> Tensor:
    """Half of the squared angle between vectors (N, D) of length 1: 2 asin²(|a - b| / 2)."""
    return 2 * torch.asin(((one - other).norm(dim=-1) / 2).clamp(max=1 - 1e-6)) ** 2


def cut_outs(image: Tensor, size: tuple[int, int], count: int, random: torch.Generator) -> Tensor:
    """Parts of an image, turned, moved and a little noisy: what fits in all of them is no trick of pixels.

    The first is the whole image as it is.

    Args:
        image: (1, 3, H, W), 0 to 1.
        size: of the parts, height and width.
        count: how many.
        random: where they come from.

    Returns:
        (count, 3, height, width).
    """
    scale = SMALLEST + (1 - SMALLEST) * torch.rand(count, generator=random)
    angle = torch.deg2rad(TURN * (2 * torch.rand(count, generator=random) - 1))
    shift = (1 - scale)[:, None] * (2 * torch.rand(count, 2, generator=random) - 1)
    noise = MOST_NOISE * torch.rand(count, 1, 1, 1, generator=random)
    drawn = torch.randn(count, 3, *size, generator=random)
    scale[0], angle[0], shift[0], noise[0] = 1, 0, 0, 0
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, dim=1), [count, 3, *size], align_corners=False)
    parts = functional.grid_sample(
        image.expand(count, -1, -1, -1), grid, padding_mode="reflection", align_corners=False
    )
    return parts + noise * drawn
