"""What a noised CLIP has in a spec. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_field


@dataclass
class NoisedClipSpec:
    """A CLIP of noisy images, trained from the same pairs in a phase of its own, `train.noised_clip`."""

    enable: bool = spec_field(
        False, "Train one, so that images can be drawn to captions by sampling.clip_guidance_scale"
    )
    channels: list[int] = spec_field(
        [32, 64, 64],
        "Channels of the image tower's convolutions, each of which halves the side",
        element_ge=8,
    )
    embedding: int = spec_field(64, "Length of its embeddings", ge=4)
    text_width: int = spec_field(64, "Channels of its text tower", ge=8)
    text_layers: int = spec_field(2, "Its layers", ge=1)
    text_heads: int = spec_field(4, "Its attention heads; they divide its width", ge=1)

    def check(self) -> Iterator[Problem]:
        """Heads divide the width; the image tower has a layer."""
        if self.text_width % self.text_heads:
            rule = f"{self.text_heads} does not divide text_width={self.text_width}"
            yield Problem("text_heads", f"{rule}; give one that does")
        if not self.channels:
            yield Problem("channels", "is empty; give one number a convolution, such as [32, 64, 64]")
