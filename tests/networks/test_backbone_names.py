from __future__ import annotations

import pytest

from tao_like.errors import SpecError
from tao_like.networks.backbones.names import TAO_ALIASES, TAO_NAMES_WITHOUT_TIMM, resolve_name
from tao_like.networks.backbones.table import rows_by_name

# The values that model.backbone.type of TAO 7.0's classification_pyt may have.
TAO_NAMES = [
    "faster_vit_0_224",
    "faster_vit_1_224",
    "faster_vit_2_224",
    "faster_vit_3_224",
    "faster_vit_4_224",
    "faster_vit_5_224",
    "faster_vit_6_224",
    "faster_vit_4_21k_224",
    "faster_vit_4_21k_384",
    "faster_vit_4_21k_512",
    "faster_vit_4_21k_768",
    "fan_tiny_12_p16_224",
    "fan_small_12_p16_224_se_attn",
    "fan_small_12_p16_224",
    "fan_base_18_p16_224",
    "fan_large_24_p16_224",
    "fan_tiny_8_p4_hybrid",
    "fan_small_12_p4_hybrid",
    "fan_base_16_p4_hybrid",
    "fan_large_16_p4_hybrid",
    "fan_xlarge_16_p4_hybrid",
    "fan_swin_tiny_patch4_window7_224",
    "fan_swin_small_patch4_window7_224",
    "fan_swin_base_patch4_window7_224",
    "fan_swin_large_patch4_window7_224",
    "vit_large_patch14_dinov2_swiglu",
    "vit_large_patch14_dinov2_swiglu_legacy",
    "vit_giant_patch14_reg4_dinov2_swiglu",
    "efficientvit_b0",
    "efficientvit_b1",
    "efficientvit_b2",
    "efficientvit_b3",
    "efficientvit_l0",
    "efficientvit_l1",
    "efficientvit_l2",
    "efficientvit_l3",
    "vit_base_patch16",
    "vit_large_patch16",
    "vit_huge_patch14",
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
    "convnext_large",
    "convnext_xlarge",
    "convnextv2_atto",
    "convnextv2_femto",
    "convnextv2_pico",
    "convnextv2_nano",
    "convnextv2_tiny",
    "convnextv2_base",
    "convnextv2_large",
    "convnextv2_huge",
    "hiera_tiny_224",
    "hiera_small_224",
    "hiera_base_224",
    "hiera_base_plus_224",
    "hiera_large_224",
    "hiera_huge_224",
    "resnet_18",
    "resnet_34",
    "resnet_50",
    "resnet_101",
    "resnet_152",
    "resnet_18d",
    "resnet_34d",
    "resnet_50d",
    "resnet_101d",
    "resnet_152d",
    "swin_tiny_patch4_window7_224",
    "swin_small_patch4_window7_224",
    "swin_base_patch4_window7_224",
    "swin_large_patch4_window7_224",
    "swin_base_patch4_window12_384",
    "swin_large_patch4_window12_384",
    "gc_vit_xxtiny",
    "gc_vit_xtiny",
    "gc_vit_tiny",
    "gc_vit_small",
    "gc_vit_base",
    "gc_vit_large",
    "gc_vit_base_384",
    "gc_vit_large_384",
    "edgenext_xx_small",
    "edgenext_x_small",
    "edgenext_small",
    "edgenext_base",
    "edgenext_xx_small_bn_hs",
    "edgenext_x_small_bn_hs",
    "edgenext_small_bn_hs",
    "c_radio_p1_vit_huge_patch16_mlpnorm",
    "c_radio_p2_vit_huge_patch16_mlpnorm",
    "c_radio_p3_vit_huge_patch16_mlpnorm",
    "c_radio_v2_vit_base_patch16",
    "c_radio_v2_vit_large_patch16",
    "c_radio_v2_vit_huge_patch16",
    "c_radio_v3_vit_large_patch16_reg4_dinov2",
    "c_radio_v3_vit_base_patch16_reg4_dinov2",
    "c_radio_v3_vit_huge_patch16_reg4_dinov2",
    "vit_l_14_siglip_clipa_224",
    "vit_l_14_siglip_clipa_336",
    "vit_h_14_siglip_clipa_224",
    "mit_b0",
    "mit_b1",
    "mit_b2",
    "mit_b3",
    "mit_b4",
    "mit_b5",
]


@pytest.mark.parametrize("name", TAO_NAMES)
def test_each_name_of_tao_resolves_or_is_explained(name: str) -> None:
    known = rows_by_name()
    if name in TAO_NAMES_WITHOUT_TIMM:
        assert name not in known
        with pytest.raises(SpecError, match="timm does not have") as caught:
            resolve_name(name)
        nearest = TAO_NAMES_WITHOUT_TIMM[name].nearest
        assert nearest in known
        assert f"'{nearest}'" in str(caught.value)
    else:
        assert resolve_name(name) in known


def test_tables_speak_of_tao_names_only() -> None:
    assert set(TAO_ALIASES) <= set(TAO_NAMES)
    assert set(TAO_NAMES_WITHOUT_TIMM) <= set(TAO_NAMES)


def test_no_alias_hides_a_network_of_timm() -> None:
    for name in rows_by_name():
        assert resolve_name(name) == name


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("resnet_50", "resnet50"),
        ("resnet_101d", "resnet101d"),
        ("vit_base_patch16", "vit_base_patch16_224"),
        ("gc_vit_tiny", "gcvit_tiny"),
        ("ResNet50", "resnet50"),
        (" resnet50 ", "resnet50"),
        ("resnet50.a1_in1k", "resnet50.a1_in1k"),
    ],
)
def test_other_spellings(given: str, meant: str) -> None:
    assert resolve_name(given) == meant


def test_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(SpecError) as caught:
        resolve_name("resnet5O")
    assert "model.backbone.type" in str(caught.value)
    assert "'resnet5O'" in str(caught.value)
    assert "resnet50" in str(caught.value)


def test_name_like_nothing_gets_no_guess() -> None:
    with pytest.raises(SpecError, match="tao-like backbones") as caught:
        resolve_name("???")
    assert "nearest" not in str(caught.value)
