"""Names of backbones: timm's own, and TAO's names for the same networks. Imports neither torch nor timm."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tao_like.errors import SpecError
from tao_like.networks.backbones.table import rows_by_name

TYPE_KEY = "model.backbone.type"
IMPORTED = "byom"
"""The type of a network that `tao-like byom convert` made of a foreign ONNX file."""

TAO_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **{f"resnet_{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
        **{f"resnet_{depth}d": f"resnet{depth}d" for depth in (18, 34, 50, 101, 152)},
        "vit_base_patch16": "vit_base_patch16_224",
        "vit_large_patch16": "vit_large_patch16_224",
        "vit_huge_patch14": "vit_huge_patch14_224",
        # timm builds DINOv2's giant with the SwiGLU layers that TAO's name speaks of.
        "vit_giant_patch14_reg4_dinov2_swiglu": "vit_giant_patch14_reg4_dinov2",
        **{f"gc_vit_{size}": f"gcvit_{size}" for size in ("xxtiny", "xtiny", "tiny", "small", "base")},
        # The same network: timm derives GCViT's windows from the image size.
        "gc_vit_base_384": "gcvit_base",
        **{
            f"c_radio_v3_vit_{size}_patch16_reg4_dinov2": f"vit_{size}_patch16_radio_v3"
            for size in ("base", "large", "huge")
        },
    }
)
"""TAO's names for networks that timm has under another name."""


@dataclass(frozen=True)
class MissingNetwork:
    """A network of TAO that timm lacks.

    Attributes:
        what: The network, in words.
        nearest: The architecture of timm that comes nearest in design and size.
    """

    what: str
    nearest: str


def _missing(what: str, nearest: Mapping[str, str]) -> dict[str, MissingNetwork]:
    return {name: MissingNetwork(what, replacement) for name, replacement in nearest.items()}


TAO_NAMES_WITHOUT_TIMM: Mapping[str, MissingNetwork] = MappingProxyType(
    {
        **_missing(
            "FasterViT",
            {
                "faster_vit_0_224": "gcvit_tiny",
                "faster_vit_1_224": "gcvit_small",
                "faster_vit_2_224": "gcvit_base",
                "faster_vit_3_224": "maxvit_base_tf_224",
                "faster_vit_4_224": "maxvit_xlarge_tf_224",
                "faster_vit_5_224": "maxvit_xlarge_tf_224",
                "faster_vit_6_224": "maxvit_xlarge_tf_224",
                "faster_vit_4_21k_224": "maxvit_xlarge_tf_224",
                "faster_vit_4_21k_384": "maxvit_xlarge_tf_384",
                "faster_vit_4_21k_512": "maxvit_xlarge_tf_512",
                "faster_vit_4_21k_768": "maxvit_xlarge_tf_512",
            },
        ),
        **_missing(
            "FAN, a fully attentional network that grew out of XCiT",
            {
                "fan_tiny_12_p16_224": "xcit_tiny_12_p16_224",
                "fan_small_12_p16_224_se_attn": "xcit_small_12_p16_224",
                "fan_small_12_p16_224": "xcit_small_12_p16_224",
                "fan_base_18_p16_224": "xcit_small_24_p16_224",
                "fan_large_24_p16_224": "xcit_medium_24_p16_224",
                "fan_tiny_8_p4_hybrid": "xcit_tiny_12_p8_224",
                "fan_small_12_p4_hybrid": "xcit_small_12_p8_224",
                "fan_base_16_p4_hybrid": "xcit_small_24_p8_224",
                "fan_large_16_p4_hybrid": "xcit_medium_24_p8_224",
                "fan_xlarge_16_p4_hybrid": "xcit_medium_24_p8_224",
                **{
                    f"fan_swin_{size}_patch4_window7_224": f"swin_{size}_patch4_window7_224"
                    for size in ("tiny", "small", "base", "large")
                },
            },
        ),
        **_missing(
            "DINOv2's ViT-L/14 with SwiGLU layers",
            {
                "vit_large_patch14_dinov2_swiglu": "vit_large_patch14_dinov2",
                "vit_large_patch14_dinov2_swiglu_legacy": "vit_large_patch14_dinov2",
            },
        ),
        **_missing("MIT's EfficientViT-L0", {"efficientvit_l0": "efficientvit_l1"}),
        **_missing(
            "a GCViT larger than the base size",
            {"gc_vit_large": "gcvit_base", "gc_vit_large_384": "gcvit_base"},
        ),
        **_missing(
            "EdgeNeXt with BatchNorm and hard-swish",
            {f"edgenext_{size}_bn_hs": f"edgenext_{size}" for size in ("xx_small", "x_small", "small")},
        ),
        **_missing(
            "a C-RADIO before its third version",
            {
                **{f"c_radio_p{n}_vit_huge_patch16_mlpnorm": "vit_huge_patch16_radio_v3" for n in (1, 2, 3)},
                **{
                    f"c_radio_v2_vit_{size}_patch16": f"vit_{size}_patch16_radio_v3"
                    for size in ("base", "large", "huge")
                },
            },
        ),
        **_missing(
            "CLIPA's ViT trained with the SigLIP loss (no norm before the blocks, average pooling)",
            {
                "vit_l_14_siglip_clipa_224": "vit_large_patch14_clip_224",
                "vit_l_14_siglip_clipa_336": "vit_large_patch14_clip_336",
                "vit_h_14_siglip_clipa_224": "vit_huge_patch14_clip_224",
            },
        ),
        **_missing("SegFormer's Mix Transformer", {f"mit_b{size}": f"pvt_v2_b{size}" for size in range(6)}),
    }
)
"""TAO's names for networks that timm lacks, each with the nearest that timm has."""


def architecture_of(name: str) -> str:
    """Return timm's architecture of a name that may carry a weights tag ("resnet50.a1_in1k")."""
    return name.partition(".")[0]


def resolve_name(type: str) -> str:
    """Return timm's name for a value of ``model.backbone.type``.

    Args:
        type: A name of timm ("resnet50"), with the tag of its weights if wanted ("resnet50.a1_in1k"), or a
            name of TAO ("resnet_50"). Upper and lower case are the same.

    Returns:
        timm's name of the architecture, with the tag if one was given. The tag is not looked up here.

    Raises:
        SpecError: The network is unknown, or is one of TAO's that timm lacks.
    """
    architecture, dot, tag = type.strip().partition(".")
    architecture = architecture.lower()
    architecture = TAO_ALIASES.get(architecture, architecture)
    known = rows_by_name()
    if architecture in known:
        return architecture + dot + tag
    if missing := TAO_NAMES_WITHOUT_TIMM.get(architecture):
        raise SpecError(
            f"{TYPE_KEY}: '{type}' is {missing.what}, which timm does not have. The nearest network that it "
            f"has is '{missing.nearest}'."
        )
    nearest = difflib.get_close_matches(architecture, [*known, *TAO_ALIASES], n=4, cutoff=0.6)
    hint = f"The nearest names are {', '.join(nearest)}. " if nearest else ""
    raise SpecError(
        f"{TYPE_KEY}: there is no backbone '{type}'. {hint}`tao-like backbones` lists all; "
        f"`tao-like backbones PART` those whose name holds PART."
    )
