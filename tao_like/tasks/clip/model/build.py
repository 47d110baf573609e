"""The towers that a spec describes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tao_like.errors import SpecError
from tao_like.runtime.inputs.text import Tokenizer
from tao_like.tasks.clip.model.image_tower import ImageTower
from tao_like.tasks.clip.model.pair import PairNetwork
from tao_like.tasks.clip.model.sentence_files import sentence_shape
from tao_like.tasks.clip.model.sentence_tower import SentenceTower
from tao_like.tasks.clip.model.text_tower import TextTower
from tao_like.tasks.clip.presets import CLIP_MEAN, CLIP_STD, SIGLIP_SCALING, find_preset
from tao_like.tasks.clip.spec import ModelSpec

FIRST_SCALE = {"clip": math.log(1 / 0.07), "siglip": math.log(10)}
FIRST_BIAS = -10.0
"""Of the sigmoid loss (Zhai et al. 2023, section 3.2): most pairs of a batch are wrong ones."""


@dataclass(frozen=True)
class Vocabulary:
    """What the text tower must know of the tokenizer."""

    size: int
    end: int
    context_length: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """A tokenizer's."""
        return cls(tokenizer.vocabulary_size, tokenizer.end, tokenizer.preprocessing.context_length)


def build_pair(spec: ModelSpec, loss_type: str, vocabulary: Vocabulary) -> PairNetwork:
    """The towers with random weights.

    Raises:
        SpecError: the spec's sizes do not go together.
    """
    preset = find_preset(spec.type)
    sentence = spec.text_encoder
    own = sentence.width if sentence.path and not preset.is_siglip else None
    embed_dim = spec.embed_dim or own or preset.embed_dim
    activation = spec.activation or preset.activation
    if preset.is_siglip and embed_dim != preset.embed_dim:
        raise SpecError(
            f"model.embed_dim={embed_dim}: the image tower of {spec.type} has no projection, so an embedding "
            f"has its {preset.embed_dim} channels; leave the key out"
        )
    width = spec.text.width or preset.text_width
    heads = spec.text.heads or preset.text_heads
    if width % heads and not sentence.path:
        raise SpecError(
            f"model.text.heads={heads} does not divide model.text.width={width}; heads are of one size"
        )
    scale = FIRST_SCALE[loss_type] if spec.init_logit_scale is None else spec.init_logit_scale
    bias = None
    if loss_type == "siglip":
        bias = FIRST_BIAS if spec.init_logit_bias is None else spec.init_logit_bias
    image = ImageTower(
        preset,
        embed_dim=embed_dim,
        image_size=spec.image_size or preset.image_size,
        activation=activation,
        mean=spec.mean or (SIGLIP_SCALING if preset.is_siglip else CLIP_MEAN),
        std=spec.std or (SIGLIP_SCALING if preset.is_siglip else CLIP_STD),
    )
    if sentence.path:
        shape = sentence_shape(sentence)
        length = vocabulary.context_length
        return PairNetwork(image, SentenceTower(shape, length, embed_dim, logit_scale=scale, logit_bias=bias))
    text = TextTower(
        vocabulary_size=vocabulary.size,
        end=vocabulary.end,
        context_length=vocabulary.context_length,
        width=width,
        layers=spec.text.layers or preset.text_layers,
        heads=heads,
        embed_dim=embed_dim,
        activation=activation,
        logit_scale=scale,
        logit_bias=bias,
        is_siglip=preset.is_siglip,
        mlp_ratio=preset.text_mlp,
    )
    return PairNetwork(image, text)
