"""Published sizes, each with the number of its parameters, and networks built from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tao_like.tasks.text_to_image.model.dalle import DalleTransformer
from tao_like.tasks.text_to_image.model.diffusion_networks import GlideNetwork, UnclipDecoder
from tao_like.tasks.text_to_image.model.dvae import DVAE
from tao_like.tasks.text_to_image.model.prior import Prior
from tao_like.tasks.text_to_image.model.unet import TextEncoder, UNet, UNetSize

GLIDE_VOCABULARY = 50257
GLIDE_LENGTH = 128


@dataclass(frozen=True)
class Preset:
    """A published network.

    Attributes:
        parameters: as its release has them, or as its authors' words come to.
        build: makes it; on the meta device it takes no memory.
        exact: the number is a count of released code, and not an estimate of the paper's.
    """

    parameters: int
    build: Callable[[], nn.Module]
    exact: bool = True


def _glide(size: UNetSize, width: int, layers: int, heads: int, inputs: int) -> GlideNetwork:
    text = TextEncoder(
        vocabulary=GLIDE_VOCABULARY,
        length=GLIDE_LENGTH,
        width=width,
        layers=layers,
        heads=heads,
        outputs=4 * size.channels,
    )
    return GlideNetwork(size, text, inputs=inputs, outputs=6)


GLIDE_64 = UNetSize(192, (1, 2, 3, 4), 3, (2, 4, 8))
GLIDE_3_5B = UNetSize(512, (1, 2, 3, 4), 3, (2, 4, 8))
GLIDE_256 = UNetSize(192, (1, 1, 2, 2, 4, 4), 2, (8, 16, 32))
UNCLIP_64 = UNetSize(320, (1, 2, 3, 4), 3, (2, 4, 8))
UNCLIP_256 = UNetSize(320, (1, 2, 3, 4), 3, (), middle_attention=False, scale_shift=False)

PRESETS: dict[str, Preset] = {
    "dvae": Preset(97_616_006, lambda: DVAE(codes=8192)),
    "dalle_12b": Preset(
        12_000_000_000,
        lambda: DalleTransformer(
            vocabulary=16384,
            text_length=256,
            codes=8192,
            grid=32,
            width=62 * 64,
            layers=64,
            heads=62,
            attention="sparse",
            caption_sum=False,
        ),
        exact=False,
    ),
    "glide_64": Preset(385_030_726, lambda: _glide(GLIDE_64, 512, 16, 8, 3)),
    "glide_64_inpaint": Preset(385_037_638, lambda: _glide(GLIDE_64, 512, 16, 8, 7)),
    "glide_256": Preset(398_361_286, lambda: _glide(GLIDE_256, 512, 16, 8, 6)),
    "glide_256_inpaint": Preset(398_368_198, lambda: _glide(GLIDE_256, 512, 16, 8, 10)),
    "glide_3.5b": Preset(3_554_414_086, lambda: _glide(GLIDE_3_5B, 2048, 24, 32, 3)),
    "karlo_prior": Preset(
        1_022_028_544,
        lambda: Prior(embedding=768, text_width=768, length=77, width=2048, layers=20, heads=32),
    ),
    "karlo_decoder": Preset(
        893_318_086,
        lambda: UnclipDecoder(UNCLIP_64, embedding=768, text_width=768, context=1536, outputs=6),
    ),
    "karlo_upsampler": Preset(691_579_523, lambda: UNet(UNCLIP_256, 6, 3)),
}
"""The published networks that the classes here build."""
