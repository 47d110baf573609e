"""Pairs of towers by name. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from tao_like.errors import SpecError
from tao_like.networks.backbones.names import resolve_name

CONVOLUTIONS = "convolutions"
"""An image tower of the toolkit's own: three convolutions, for small images."""
CLIP_CONTEXT = 77
SIGLIP_CONTEXT = 64
SIGLIP_SCALING = (0.5, 0.5, 0.5)
"""Mean and standard deviation."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preset:
    """A pair of towers.

    Attributes:
        image: timm's name of the image tower, or ``CONVOLUTIONS``.
        embed_dim: length of an embedding.
        image_size: side of the input, in pixels.
        text_width: of the text tower.
        text_layers: of the text tower.
        text_heads: of the text tower.
        context_length: ids of a text.
        arguments: further ones of timm's for the image tower.
        is_siglip: the text tower has no causal mask and is read at its last position, and the image tower
            pools by attention and has no projection (Zhai et al. 2023).
        text_mlp: hidden channels of the text tower's blocks over its width.
    """

    image: str
    embed_dim: int
    image_size: int
    text_width: int
    text_layers: int
    text_heads: int
    context_length: int = CLIP_CONTEXT
    arguments: Mapping[str, Any] = field(default_factory=dict)
    is_siglip: bool = False
    text_mlp: float = 4.0

    @property
    def activation(self) -> str:
        """Of the transformers, where nobody says another one."""
        return "gelu_tanh" if self.is_siglip else "gelu"


def _siglip(image: str, width: int, layers: int, heads: int, side: int, mlp: float = 4.0) -> Preset:
    return Preset(image, width, side, width, layers, heads, SIGLIP_CONTEXT, {}, True, mlp)


_ANY_SIGLIP = "vit_base_patch16_siglip_224"
_ANY_VIT = "vit_base_patch32_clip_224"
_TINY_VIT = {"embed_dim": 96, "depth": 3, "num_heads": 4, "patch_size": 8}
PRESETS: Mapping[str, Preset] = {
    "conv_tiny": Preset(CONVOLUTIONS, 64, 32, 64, 2, 4, 32),
    "vit_tiny": Preset(_ANY_VIT, 96, 32, 96, 2, 4, 32, _TINY_VIT),
    "RN50": Preset("resnet50_clip", 1024, 224, 512, 12, 8),
    "RN101": Preset("resnet101_clip", 512, 224, 512, 12, 8),
    "RN50x4": Preset("resnet50x4_clip", 640, 288, 640, 12, 10),
    "RN50x16": Preset("resnet50x16_clip", 768, 384, 768, 12, 12),
    "RN50x64": Preset("resnet50x64_clip", 1024, 448, 1024, 12, 16),
    "ViT-B-32": Preset("vit_base_patch32_clip_224", 512, 224, 512, 12, 8),
    "ViT-B-16": Preset("vit_base_patch16_clip_224", 512, 224, 512, 12, 8),
    "ViT-L-14": Preset("vit_large_patch14_clip_224", 768, 224, 768, 12, 12),
    "ViT-L-14-336": Preset("vit_large_patch14_clip_336", 768, 336, 768, 12, 12),
    "ViT-H-14": Preset("vit_huge_patch14_clip_224", 1024, 224, 1024, 24, 16),
    "ViT-g-14": Preset("vit_giant_patch14_clip_224", 1024, 224, 1024, 24, 16),
    "ViT-bigG-14": Preset("vit_gigantic_patch14_clip_224", 1280, 224, 1280, 32, 20),
    "siglip_tiny": Preset(_ANY_SIGLIP, 96, 32, 96, 2, 4, 32, _TINY_VIT, True),
    "ViT-B-16-SigLIP": _siglip("vit_base_patch16_siglip_224", 768, 12, 12, 224),
    "ViT-B-16-SigLIP-256": _siglip("vit_base_patch16_siglip_256", 768, 12, 12, 256),
    "ViT-L-16-SigLIP-256": _siglip("vit_large_patch16_siglip_256", 1024, 24, 16, 256),
    "ViT-SO400M-14-SigLIP": _siglip("vit_so400m_patch14_siglip_224", 1152, 27, 16, 224, 3.7362),
}
OWN_TOWERS = ("conv_tiny", "vit_tiny", "siglip_tiny")
"""Presets whose image tower is nobody else's, so that there are no weights for it."""
_SMALL_TEXT = Preset("", 256, 224, 256, 4, 4, 32)


def find_preset(name: str) -> Preset:
    """The preset of a name (``ViT-B/32`` as well as ``ViT-B-32``), or timm's network with a small text tower.

    Raises:
        SpecError: it is neither.
    """
    wanted = name.replace("/", "-").replace("@", "-").removesuffix("px").lower()
    for known, preset in PRESETS.items():
        if known.lower() == wanted:
            return preset
    try:
        resolved = resolve_name(name)
    except SpecError as error:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SpecError(
            f"{name} is neither a pair of towers ({', '.join(PRESETS)}) nor a backbone of timm's.{hint}"
        ) from error
    return replace(_SMALL_TEXT, image=resolved)
