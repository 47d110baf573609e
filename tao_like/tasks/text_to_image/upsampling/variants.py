"""Ways of generating that begin with the real images of a split, for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tao_like.runtime.generation.base import IMAGE, SEED, Arrays, GraphCall
from tao_like.runtime.generation.cascade import CascadeGenerator, reduced, size_of
from tao_like.runtime.generation.diffusion import DiffusionGenerator
from tao_like.tasks.text_to_image.around import AroundGenerator

Pixels = Callable[[int], npt.NDArray[np.uint8]]
"""The real image of a sample, (H, W, 3): the seeds of a split's samples are their numbers."""


@dataclass(frozen=True)
class Enlarging(AroundGenerator):
    """Makes the real images small, and enlarges them by the upsamplers alone.

    Attributes:
        generator: whose upsamplers do it.
        pixels: real images.
    """

    generator: CascadeGenerator
    pixels: Pixels

    kind: ClassVar[str] = "enlarging"

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Generator`."""
        real = np.stack([self.pixels(int(seed)) for seed in given[SEED]]) / np.float32(255)
        images = reduced(real, *size_of(self.generator.base))
        for number in range(1, len(self.generator.upsamplers) + 1):
            images = self.generator.enlarged(call, number, images, given[SEED])
        return {IMAGE: images}


@dataclass(frozen=True)
class Painting(AroundGenerator):
    """Paints into the real images.

    Attributes:
        generator: does it.
        pixels: real images.
        mask: (H, W) uint8, white where to paint.
    """

    generator: DiffusionGenerator | CascadeGenerator
    pixels: Pixels
    mask: npt.NDArray[np.uint8]

    kind: ClassVar[str] = "painting"

    def run(self, call: GraphCall, given: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Generator`."""
        real = np.stack([self.pixels(int(seed)) for seed in given[SEED]])
        return self.generator.painting(real, self.mask).run(call, given)


def middle_mask(side: int) -> npt.NDArray[np.uint8]:
    """White but for a frame, an eighth of the side wide: the ground is known, what stands on it is not."""
    mask = np.zeros((side, side), np.uint8)
    frame = max(1, side // 8)
    mask[frame:-frame, frame:-frame] = 255
    return mask
