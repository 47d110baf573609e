"""A CLIP, a prior and a decoder as one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from tao_like.contract.model import fill_later_buffers
from tao_like.tasks.text_to_image.model.code_prior import CodePrior
from tao_like.tasks.text_to_image.model.components import principal_components
from tao_like.tasks.text_to_image.model.diffusion_networks import UnclipDecoder
from tao_like.tasks.text_to_image.model.prior import Prior
from tao_like.tasks.text_to_image.model.towers import LARGEST_SCALE, Towers
from tao_like.tasks.text_to_image.model.upsampler import Upsampler
from tao_like.tasks.text_to_image.model.wholes import numbered
from tao_like.tasks.text_to_image.unclip.given_clip import GivenTowers

LEAST_STD = 1e-3


class Standardized(nn.Module):
    """A network with mean and deviation of the embeddings of the training's images, by dimension.

    Args:
        network: sees standardized embeddings.
        embedding: their length.
    """

    def __init__(self, network: nn.Module, embedding: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(embedding))
        self.register_buffer("std", torch.ones(embedding))
        self.mean: Tensor
        self.std: Tensor

    def measure(self, embeddings: Tensor) -> None:
        """Takes mean and deviation of embeddings (N, D)."""
        self.mean.copy_(embeddings.mean(dim=0))
        self.std.copy_(embeddings.std(dim=0, correction=0).clamp(min=LEAST_STD))

    def standardized(self, embeddings: Tensor) -> Tensor:
        """(N, D) of length 1 to the network's space."""
        return (embeddings - self.mean) / self.std

    def embeddings(self, standardized: Tensor) -> Tensor:
        """Back to embeddings of length 1."""
        return functional.normalize(standardized * self.std + self.mean, dim=1)


class DecoderWithComponents(Standardized):
    """A decoder that knows the principal components of the training's embeddings too.

    Decoders of earlier versions have none; they load as such.
    """

    later_buffers: ClassVar[tuple[str, ...]] = ("axes",)

    def __init__(self, network: nn.Module, embedding: int) -> None:
        super().__init__(network, embedding)
        self.register_buffer("axes", torch.zeros(embedding, embedding))
        self.axes: Tensor
        fill_later_buffers(self)

    @override
    def measure(self, embeddings: Tensor) -> None:
        super().measure(embeddings)
        _, axes = principal_components(embeddings, len(self.axes))
        self.axes.copy_(axes)

    def reconstructed(self, embeddings: Tensor, counts: Tensor) -> Tensor:
        """Embeddings by their first principal components alone.

        Args:
            embeddings: (N, D).
            counts: (N,): components that are kept of each; 0 gives the mean of the training's.

        Returns:
            (N, D), of length 1.
        """
        # Einsum, which int8 leaves as it is: images do not show what rounding would do here.
        values = torch.einsum("nd,kd->nk", embeddings - self.mean, self.axes)
        kept = torch.arange(len(self.axes), device=values.device) < counts[:, None]
        return functional.normalize(torch.einsum("nk,kd->nd", values * kept, self.axes) + self.mean, dim=1)


class UnclipModel(nn.Module):
    """What the phases train, one after another.

    Args:
        clip: to be trained, or trained before.
        prior: from captions to embeddings of images.
        decoder: from these to images.
        embedding: their length.
        upsamplers: from smaller images to larger ones.
    """

    def __init__(
        self,
        clip: Towers | GivenTowers,
        prior: Prior | CodePrior,
        decoder: UnclipDecoder,
        embedding: int,
        upsamplers: Sequence[Upsampler] = (),
    ) -> None:
        super().__init__()
        self.clip = clip
        self.prior = Standardized(prior, embedding) if isinstance(prior, Prior) else prior
        self.decoder = DecoderWithComponents(decoder, embedding)
        self.upsamplers = nn.ModuleList(upsamplers)

    def parts(self) -> dict[str, nn.Module]:
        """By the phases that make them."""
        own = {"clip": self.clip, "prior": self.prior, "decoder": self.decoder}
        return own | numbered(self.upsamplers)

    def forward(self, part: str, *given: Tensor) -> Any:
        """What a part learns by; divided weights are gathered when the whole is called.

        Args:
            part: ``clip``, with pixels and captions; ``image``, with pixels; ``prior``, with noisy
                standardized embeddings, timesteps and captions; ``codes``, with codes and captions;
                ``decoder``, with noisy images, timesteps, embeddings and captions; the name of an upsampler,
                with noisy images, timesteps and smaller images.
            given: its inputs.

        Returns:
            Embeddings of images and captions and the scale; those of images alone; the embeddings that
            are foreseen, standardized, or the codes' logits; or what the decoder says.
        """
        if part == "clip":
            pixels, text = given
            return self.clip.image(pixels), self.clip.text(text)[0], self.clip.scale
        if part == "image":
            return self.clip.image(*given)
        if part in numbered(self.upsamplers):
            return numbered(self.upsamplers)[part](*given)
        text = given[-1]
        with torch.no_grad():
            of_text, tokens = self.clip.text(text)
        heard = (of_text, tokens, self.clip.text.padding(text), *self.word_sums(text))
        if part == "codes":
            return self.prior(given[0], *heard)
        noisy, timesteps, *rest = given
        if part == "prior":
            assert isinstance(self.prior, Standardized)
            return self.prior.network(noisy, timesteps, *heard)
        return decoded(self.decoder, noisy, timesteps, rest[0], of_text, tokens)

    def word_sums(self, text: Tensor) -> tuple[Tensor, ...]:
        """What the prior hears of each word by itself: (N, width), or nothing."""
        prior = self.prior.network if isinstance(self.prior, Standardized) else self.prior
        assert isinstance(prior, Prior | CodePrior)
        return () if prior.words is None else (prior.words(text, self.clip.text.padding(text)),)


def decoded(
    decoder: Standardized, x: Tensor, timesteps: Tensor, image: Tensor, text: Tensor, tokens: Tensor
) -> Tensor:
    """What the decoder says; an embedding of length 0 is none.

    Args:
        decoder: around an `UnclipDecoder`.
        x: (N, 3, H, W), noisy.
        timesteps: (N,).
        image: (N, D), the images' embeddings.
        text: (N, D), the captions'.
        tokens: (N, T, width), those of the captions.
    """
    network = decoder.network
    assert isinstance(network, UnclipDecoder)
    there = image.abs().sum(dim=1, keepdim=True) > 0
    given = torch.where(there, decoder.standardized(image), network.nothing)
    found: Tensor = network(x, timesteps, given, text, tokens)
    return found


class TextForExport(nn.Module):
    """Captions to their embeddings, their tokens, which places have one, and perhaps the sum of words."""

    def __init__(self, model: UnclipModel) -> None:
        super().__init__()
        self.text = model.clip.text
        self.model = model

    def forward(self, text: Tensor) -> tuple[Tensor, ...]:
        """(N, T) to (N, D), (N, T, width), (N, T) float, 1 where a token is, and (N, prior's width)."""
        embedding, tokens = self.text(text)
        seen = (~self.text.padding(text)).to(tokens.dtype)
        return embedding, tokens, seen, *self.model.word_sums(text)


class PriorForExport(nn.Module):
    """One step of the prior."""

    def __init__(self, model: UnclipModel) -> None:
        super().__init__()
        assert isinstance(model.prior, Standardized)
        self.prior = model.prior.network

    def forward(
        self, noisy: Tensor, timesteps: Tensor, text: Tensor, tokens: Tensor, seen: Tensor, *words: Tensor
    ) -> Tensor:
        """See `Prior`; ``seen`` is the opposite of its ``padding``."""
        return self.prior(noisy, timesteps, text, tokens, seen < 0.5, *words)


class CodesForExport(nn.Module):
    """The codes that may follow, by the autoregressive prior."""

    def __init__(self, model: UnclipModel) -> None:
        super().__init__()
        self.prior = model.prior

    def forward(self, codes: Tensor, text: Tensor, tokens: Tensor, seen: Tensor, *words: Tensor) -> Tensor:
        """See `CodePrior`; ``seen`` is the opposite of its ``padding``."""
        return self.prior(codes, text, tokens, seen < 0.5, *words)


class EmbeddingForExport(nn.Module):
    """What a prior draws to embeddings: standardized ones, or codes."""

    def __init__(self, model: UnclipModel) -> None:
        super().__init__()
        prior = model.prior
        self.coder = prior.coder if isinstance(prior, CodePrior) else prior

    def forward(self, drawn: Tensor) -> Tensor:
        """(N, D), or codes (N, K), to (N, D) of length 1."""
        return self.coder.embeddings(drawn)


class SpaceForExport(nn.Module):
    """What is known of CLIP's space: its principal components and the scale of its cosines."""

    def __init__(self, model: UnclipModel) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.scale = model.clip.scale

    def forward(self, image: Tensor, components: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (N, D) and counts (N,) to what `reconstructed` gives of them, whether components are
        known (1, else 0) and what cosines of this space are multiplied by, each (N,)."""
        known = (self.decoder.axes.abs().sum() > 0).to(image.dtype)
        return (
            self.decoder.reconstructed(image, components),
            known.expand(image.shape[0]),
            self.scale.clamp(max=LARGEST_SCALE).exp().expand(image.shape[0]),
        )


class ImageForExport(nn.Module):
    """Images to their embeddings."""

    def __init__(self, model: UnclipModel) -> None:
        super().__init__()
        self.image = model.clip.image

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W), 0 to 1, to (N, D) of length 1."""
        return self.image(pixels)


class DecoderForExport(nn.Module):
    """One step of the decoder."""

    def __init__(self, model: UnclipModel) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, x: Tensor, timesteps: Tensor, image: Tensor, text: Tensor, tokens: Tensor) -> Tensor:
        """See `decoded`."""
        return decoded(self.decoder, x, timesteps, image, text, tokens)
