"""What upsamplers have in a spec. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_field
from tao_like.runtime.choices import PREDICTIONS

MOST_UPSAMPLERS = 2
"""As in unCLIP: 64 to 256 to 1,024 pixels."""


@dataclass
class UpsamplerSpec:
    """U-Nets that see a smaller image beside the noisy one. They hear no caption, as in unCLIP."""

    sides: list[int] = spec_field(
        [],
        "Sides of the images of each upsampler, rising, each a multiple of the one before, the first of "
        "`image_size`; empty: there is none",
        element_ge=16,
    )
    channels: int = spec_field(32, "Channels of the first level", ge=8)
    multipliers: list[int] = spec_field(
        [1, 2], "Channels of each level over `channels`; every level halves the side", element_ge=1
    )
    blocks: int = spec_field(1, "Residual blocks a level", ge=1, le=8)
    patch: int = spec_field(2, "As glide.patch", ge=1, le=8)
    prediction: str = spec_field(
        "x0",
        "What the network says; of x0 it says the difference to the smaller image, enlarged",
        choices=PREDICTIONS,
    )

    def check(self) -> Iterator[Problem]:
        """Few sides, each of which the network can halve."""
        if len(self.sides) > MOST_UPSAMPLERS:
            yield Problem("sides", f"{self.sides} are more than {MOST_UPSAMPLERS} upsamplers")
        if not self.multipliers:
            yield Problem("multipliers", "is empty; give one number a level, such as [1, 2]")
            return
        halved = self.patch * 2 ** (len(self.multipliers) - 1)
        if odd := [side for side in self.sides if side % halved]:
            yield Problem("sides", f"{odd} are no multiples of {halved}, as patch and multipliers want it")
