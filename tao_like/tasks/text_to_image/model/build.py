"""From the spec's model block to a network with random weights."""

from __future__ import annotations

import itertools
from typing import Any

from tao_like.runtime.choices import DIFFUSION, LEARNED_RANGE
from tao_like.runtime.generation.edit import KNOWN
from tao_like.runtime.inputs.text import END
from tao_like.tasks.text_to_image.model.code_prior import CodePrior
from tao_like.tasks.text_to_image.model.dalle import DalleTransformer
from tao_like.tasks.text_to_image.model.diffusion_networks import GlideNetwork, UnclipDecoder
from tao_like.tasks.text_to_image.model.dvae import DVAE
from tao_like.tasks.text_to_image.model.prior import Prior
from tao_like.tasks.text_to_image.model.towers import ImageTower, TextTower, Towers
from tao_like.tasks.text_to_image.model.unet import TextEncoder, UNetSize
from tao_like.tasks.text_to_image.model.upsampler import Upsampler
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel
from tao_like.tasks.text_to_image.noised_clip.model import NoisedImageTower, NoisedTowers
from tao_like.tasks.text_to_image.noised_clip.spec import NoisedClipSpec
from tao_like.tasks.text_to_image.spec import GUMBEL, GlideSpec, ModelSpec
from tao_like.tasks.text_to_image.spec_blocks.unclip import UnclipSpec
from tao_like.tasks.text_to_image.unclip.given_clip import GivenTowers
from tao_like.tasks.text_to_image.unclip.model import UnclipModel


def build_dalle(spec: ModelSpec, vocabulary: int) -> DalleModel:
    """A dVAE and its transformer.

    Args:
        spec: the model block.
        vocabulary: tokens of captions.
    """
    own = spec.dalle
    dvae = DVAE(
        codes=own.code_count,
        levels=() if own.quantizer == GUMBEL else tuple(own.levels),
        width=own.dvae_width,
        groups=own.dvae_groups,
        blocks=own.dvae_blocks,
    )
    transformer = DalleTransformer(
        vocabulary=vocabulary,
        text_length=spec.context_length,
        codes=dvae.codes,
        grid=spec.image_size // dvae.scale,
        width=own.width,
        layers=own.layers,
        heads=own.heads,
        attention=own.attention,
        caption_sum=own.caption_sum,
    )
    return DalleModel(dvae, transformer)


def build_glide(spec: ModelSpec, vocabulary: int) -> GlideModel:
    """GLIDE's network; arguments as of `build_dalle`."""
    own = spec.glide
    text = TextEncoder(
        vocabulary=vocabulary,
        length=spec.context_length,
        width=own.text_width,
        layers=own.text_layers,
        heads=own.text_heads,
        outputs=4 * own.channels,
        caption_sum=own.caption_sum,
    )
    base = GlideNetwork(
        _unet_size(own),
        text,
        inputs=3 + KNOWN if own.inpaint else 3,
        outputs=_outputs(spec),
        patch=own.patch,
        coordinates=own.coordinates,
    )
    guide = _noised_clip(spec, vocabulary) if own.noised_clip.enable else None
    return GlideModel(base, _upsamplers(spec), guide)


def _noised_clip(spec: ModelSpec, vocabulary: int) -> NoisedTowers:
    own = spec.glide.noised_clip
    image = NoisedImageTower(own.channels, spec.image_size, own.embedding)
    return NoisedTowers(image, _text_tower(spec, own, vocabulary))


def _text_tower(
    spec: ModelSpec, own: NoisedClipSpec | UnclipSpec, vocabulary: int, caption_sum: bool = False
) -> TextTower:
    return TextTower(
        vocabulary=vocabulary,
        end=END,
        length=spec.context_length,
        width=own.text_width,
        layers=own.text_layers,
        heads=own.text_heads,
        embedding=own.embedding,
        caption_sum=caption_sum,
    )


def build_unclip(spec: ModelSpec, vocabulary: int, clip: GivenTowers | None = None) -> UnclipModel:
    """unCLIP's three networks.

    Args:
        spec: the model block.
        vocabulary: tokens of captions.
        clip: trained before; None: a small one, to be trained.
    """
    own, unet = spec.unclip, spec.glide
    # In this order, so that a seed gives the weights that it always gave.
    text = None if clip else _text_tower(spec, own, vocabulary, own.caption_sum)
    sizes: dict[str, Any] = {
        "embedding": own.embedding,
        "text_width": own.text_width,
        "length": spec.context_length,
        "width": own.prior_width,
        "layers": own.prior_layers,
        "heads": own.prior_heads,
        "vocabulary": vocabulary if own.caption_sum else 0,
    }
    prior: Prior | CodePrior = (
        Prior(**sizes)
        if own.prior == DIFFUSION
        else CodePrior(**sizes, codes=own.prior_codes, buckets=own.prior_buckets)
    )
    decoder = UnclipDecoder(
        _unet_size(unet),
        embedding=own.embedding,
        text_width=own.text_width,
        context=own.text_width,
        tokens=own.tokens,
        outputs=_outputs(spec),
        patch=unet.patch,
        coordinates=unet.coordinates,
    )
    if text is not None:
        image = ImageTower(own.clip_channels, spec.image_size, own.embedding)
        return UnclipModel(Towers(image, text), prior, decoder, own.embedding, _upsamplers(spec))
    assert clip is not None
    return UnclipModel(clip, prior, decoder, own.embedding, _upsamplers(spec))


def _upsamplers(spec: ModelSpec) -> list[Upsampler]:
    own = spec.upsampler
    size = UNetSize(own.channels, tuple(own.multipliers), own.blocks, (), dropout=0.0, middle_attention=False)
    sides = [spec.image_size, *own.sides]
    return [
        Upsampler(size, side // before, patch=own.patch, residual=own.prediction == "x0")
        for before, side in itertools.pairwise(sides)
    ]


def _outputs(spec: ModelSpec) -> int:
    """Channels that the network says of an image: its own, and those of a variance that is learnt."""
    return 6 if spec.diffusion.variance == LEARNED_RANGE else 3


def _unet_size(spec: GlideSpec) -> UNetSize:
    return UNetSize(
        spec.channels,
        tuple(spec.multipliers),
        spec.blocks,
        tuple(spec.attention),
        head_channels=spec.head_channels,
        dropout=spec.dropout,
    )
