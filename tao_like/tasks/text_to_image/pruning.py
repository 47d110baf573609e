"""What may be taken away of the networks that make images, and how each part is run meanwhile.

Widths along a residual path, heads of attention and what U-Nets hand over from their way down to their way
up stay. What is inside a block may go: hidden channels of the transformers' MLPs, and those between the two
convolutions of a residual block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tao_like.contract.model import Prunable
from tao_like.tasks.text_to_image.model.code_prior import CodePrior
from tao_like.tasks.text_to_image.model.diffusion_networks import GlideNetwork
from tao_like.tasks.text_to_image.model.upsampler import Upsampler
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel, numbered
from tao_like.tasks.text_to_image.spec import ModelSpec
from tao_like.tasks.text_to_image.unclip.model import DecoderForExport, Standardized, UnclipModel


def prunable_parts(
    model: DalleModel | GlideModel | UnclipModel, spec: ModelSpec, text: Tensor
) -> dict[str, Prunable]:
    """The parts that may shrink: not the dVAE nor CLIP, in whose codes and embeddings the others think.

    Args:
        model: the networks.
        spec: their sizes.
        text: (1, T) int64: a caption.
    """
    side = spec.image_size
    if isinstance(model, DalleModel):
        codes = torch.zeros(1, model.transformer.grid**2, dtype=torch.int64)
        return {"transformer": Prunable((text, codes), [], inner=True)}
    image, timesteps = torch.linspace(-1, 1, 3 * side * side).view(1, 3, side, side), torch.tensor([500.0])
    parts = dict(_upsamplers(model.upsamplers, [side, *spec.upsampler.sides]))
    if isinstance(model, GlideModel):
        channels = model.base.unet.first.in_channels - (2 if model.base.coordinates else 0)
        more = channels // model.base.patch**2 - 3
        noisy = torch.cat([image, torch.zeros(1, more, side, side)], dim=1)
        runs = _GlideRun(model.base)
        return {**parts, "base": Prunable((text, noisy, timesteps), [], inner=True, runs=runs)}
    with torch.no_grad():
        of_text, tokens = model.clip.text(text)
        embedding = model.clip.image((image + 1) / 2)
        words = model.word_sums(text)
        padding = model.clip.text.padding(text)
    prior = model.prior
    inputs: tuple[Tensor, ...]
    if isinstance(prior, CodePrior):
        inputs = (prior.coder.codes(embedding), of_text, tokens, padding, *words)
        parts["prior"] = Prunable(inputs, [], inner=True)
    else:
        inputs = (prior.standardized(embedding), timesteps, of_text, tokens, padding, *words)
        parts["prior"] = Prunable(inputs, [], inner=True, runs=_PriorRun(prior))
    inputs = (image, timesteps, embedding, of_text, tokens)
    return {**parts, "decoder": Prunable(inputs, [], inner=True, runs=DecoderForExport(model))}


def _upsamplers(upsamplers: nn.ModuleList, sides: list[int]) -> Any:
    """Each by its name."""
    for (name, network), low, high in zip(numbered(upsamplers).items(), sides, sides[1:], strict=False):
        assert isinstance(network, Upsampler)
        noisy = torch.linspace(-1, 1, 3 * high * high).view(1, 3, high, high)
        small = torch.linspace(1, -1, 3 * low * low).view(1, 3, low, low)
        yield name, Prunable((noisy, torch.tensor([500.0]), small), [], inner=True)


class _GlideRun(nn.Module):
    """GLIDE's network with its text transformer in one pass."""

    def __init__(self, base: GlideNetwork) -> None:
        super().__init__()
        self.base = base

    def forward(self, text: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        tokens, pooled = self.base.text(text)
        found: Tensor = self.base(noisy, timesteps, tokens, pooled)
        return found


class _PriorRun(nn.Module):
    """A prior by diffusion."""

    def __init__(self, prior: Standardized) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, *given: Tensor) -> Tensor:
        found: Tensor = self.prior.network(*given)
        return found
