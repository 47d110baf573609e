"""The networks of each architecture as one module, with the parts that a bundle keeps apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tao_like.runtime.generation.cascade import upsampler_graph
from tao_like.tasks.text_to_image.model.dalle import DalleTransformer
from tao_like.tasks.text_to_image.model.diffusion_networks import GlideNetwork
from tao_like.tasks.text_to_image.model.dvae import DVAE
from tao_like.tasks.text_to_image.model.upsampler import Upsampler
from tao_like.tasks.text_to_image.noised_clip.model import NoisedTowers

NOISED_CLIP = "noised_clip"
"""Name of that part, and of the phase that makes it."""


class DalleModel(nn.Module):
    """A dVAE and the transformer over its codes."""

    def __init__(self, dvae: DVAE, transformer: DalleTransformer) -> None:
        super().__init__()
        self.dvae = dvae
        self.transformer = transformer

    def parts(self) -> dict[str, nn.Module]:
        """By the phases that make them."""
        return {"dvae": self.dvae, "transformer": self.transformer}

    def forward(
        self,
        pixels: Tensor,
        text: Tensor | None = None,
        codes: Tensor | None = None,
        temperature: float = 1.0,
    ) -> tuple[Tensor, ...]:
        """What either part learns by; divided weights are gathered when the whole is called.

        Args:
            pixels: (N, 3, H, W), 0 to 1.
            text: captions (N, text_length); None: the dVAE is asked.
            codes: (N, grid²) of the pixels, where they are known; None: the dVAE makes them.
            temperature: of the dVAE's relaxation.

        Returns:
            Of the dVAE what its ``forward`` gives; of the transformer its two logits, and the codes.
        """
        if text is None:
            found: tuple[Tensor, ...] = self.dvae(pixels, temperature)
            return found
        if codes is None:
            with torch.no_grad():
                codes = self.dvae.encode(pixels).flatten(1)
        return (*self.transformer(text, codes), codes)


class GlideModel(nn.Module):
    """A network that takes noise away, those that make its images larger, and perhaps one that guides it."""

    def __init__(
        self,
        base: GlideNetwork,
        upsamplers: Sequence[Upsampler] = (),
        noised_clip: NoisedTowers | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.upsamplers = nn.ModuleList(upsamplers)
        self.noised_clip = noised_clip

    def parts(self) -> dict[str, nn.Module]:
        """By the phases that make them."""
        guide = {} if self.noised_clip is None else {NOISED_CLIP: self.noised_clip}
        return {"base": self.base, **guide, **numbered(self.upsamplers)}

    def forward(self, part: str, x: Tensor, timesteps: Tensor, given: Tensor) -> Any:
        """What a part learns by; divided weights are gathered when the whole is called.

        Args:
            part: ``base``, ``noised_clip``, or the name of an upsampler.
            x: noisy images.
            timesteps: (N,).
            given: captions (N, length), or smaller images; see `GlideNetwork`, `NoisedTowers` and
                `Upsampler`.
        """
        if part != "base":
            return self.parts()[part](x, timesteps, given)
        return self.base(x, timesteps, *self.base.text(given))


def numbered(upsamplers: nn.ModuleList) -> dict[str, nn.Module]:
    """Upsamplers by the names of their parts and graphs."""
    return {upsampler_graph(number): one for number, one in enumerate(upsamplers, 1)}


class BeginForExport(nn.Module):
    """Captions to the logits of the first code, and what is kept of them."""

    def __init__(self, transformer: DalleTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """See `DalleTransformer.begin`."""
        return self.transformer.begin(text)


class NextForExport(nn.Module):
    """A code to the logits of the next one."""

    def __init__(self, transformer: DalleTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, text: Tensor, code: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """See `DalleTransformer.go_on`."""
        return self.transformer.go_on(text, code, past)


class DecoderForExport(nn.Module):
    """Codes to pixels."""

    def __init__(self, dvae: DVAE) -> None:
        super().__init__()
        self.dvae = dvae

    def forward(self, codes: Tensor) -> Tensor:
        """(N, h, w) to (N, 3, H, W), 0 to 1."""
        return self.dvae.decode(codes)


class TextForExport(nn.Module):
    """Captions to what the denoiser sees of them; one without a token is no caption."""

    def __init__(self, base: GlideNetwork) -> None:
        super().__init__()
        self.text = base.text

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """See `TextEncoder`."""
        tokens, pooled = self.text(text)
        return tokens, pooled


class DenoiserForExport(nn.Module):
    """One step of diffusion."""

    def __init__(self, base: GlideNetwork) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        """See `GlideNetwork`."""
        return self.base(x, timesteps, tokens, pooled)


def dropped(text: Tensor, fraction: float) -> Tensor:
    """Captions of which a fraction, at random, is left out: all of it padding."""
    kept = torch.rand(text.shape[0], 1, device=text.device) >= fraction
    return text * kept
