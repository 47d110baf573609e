"""From the spec's model block to a network with random weights."""

from __future__ import annotations

from tao_like.tasks.text_to_image.model.dalle import DalleTransformer
from tao_like.tasks.text_to_image.model.diffusion_networks import GlideNetwork
from tao_like.tasks.text_to_image.model.dvae import DVAE
from tao_like.tasks.text_to_image.model.unet import TextEncoder, UNetSize
from tao_like.tasks.text_to_image.model.wholes import DalleModel, GlideModel
from tao_like.tasks.text_to_image.spec import ModelSpec


def build_dalle(spec: ModelSpec, vocabulary: int) -> DalleModel:
    """A dVAE and its transformer.

    Args:
        spec: the model block.
        vocabulary: tokens of captions.
    """
    own = spec.dalle
    dvae = DVAE(
        levels=tuple(own.levels), width=own.dvae_width, groups=own.dvae_groups, blocks=own.dvae_blocks
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
    size = UNetSize(
        own.channels,
        tuple(own.multipliers),
        own.blocks,
        tuple(own.attention),
        head_channels=own.head_channels,
        dropout=own.dropout,
    )
    text = TextEncoder(
        vocabulary=vocabulary,
        length=spec.context_length,
        width=own.text_width,
        layers=own.text_layers,
        heads=own.text_heads,
        outputs=4 * own.channels,
    )
    return GlideModel(GlideNetwork(size, text, patch=own.patch, coordinates=own.coordinates))
