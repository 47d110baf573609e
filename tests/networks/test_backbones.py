from __future__ import annotations

import re

import pytest
import timm
import torch

from tao_like.errors import SpecError
from tao_like.networks.backbones.build import create_backbone, default_normalization, head_prefixes

SMALL = [
    ("resnet_18", 32),
    ("tf_efficientnet_lite0", 32),
    ("mobilenetv3_small_050", 32),
    ("convnext_atto", 32),
    ("vit_tiny_patch16_224", 32),
    ("swin_tiny_patch4_window7_224", 64),
    ("darknet17", 32),
]


@pytest.mark.parametrize(("type", "size"), SMALL)
def test_family_takes_a_small_image_and_learns(type: str, size: int) -> None:
    network = create_backbone(type, num_classes=3, img_size=size)
    logits = network(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    heads = tuple(f"{prefix}." for prefix in head_prefixes(network))
    assert heads
    gradients = {name: value.grad for name, value in network.named_parameters()}
    assert all(gradients[name] is not None for name in gradients if name.startswith(heads))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_weights_are_those_that_timm_would_draw(name: str) -> None:
    """Trying the size first must not touch the random numbers."""
    torch.manual_seed(3)
    expected = timm.create_model(name, num_classes=4)
    torch.manual_seed(3)
    network = create_backbone(name, num_classes=4, img_size=224)
    for (key, value), (expected_key, expected_value) in zip(
        network.state_dict().items(), expected.state_dict().items(), strict=True
    ):
        assert key == expected_key
        assert torch.equal(value, expected_value)


def test_rectangle_channels_and_rates_reach_the_network() -> None:
    network = create_backbone(
        "vit_tiny_patch16_224",
        num_classes=0,
        img_size=(32, 64),
        channels=1,
        drop_rate=0.3,
        drop_path_rate=0.2,
    )
    assert network.patch_embed.grid_size == (2, 4)
    assert network(torch.zeros(1, 1, 32, 64)).shape == (1, 192)
    assert network.head_drop.p == 0.3
    assert network.blocks[-1].drop_path1.drop_prob == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("name", "size", "rule"),
    [
        ("vit_tiny_patch16_224", 100, "patches of 16"),
        ("swin_tiny_patch4_window7_224", 98, "patches of 4"),
        pytest.param("gcvit_xxtiny", 100, "in timm's words", marks=pytest.mark.acceptance),
        ("vgg11", 16, "too small"),
        pytest.param("efficientformer_l1", 64, "in timm's words", marks=pytest.mark.acceptance),
    ],
)
def test_wrong_size_is_refused_with_sizes_that_fit(name: str, size: int, rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        create_backbone(name, num_classes=3, img_size=size)
    message = str(caught.value)
    assert message.startswith("dataset.img_size: ")
    assert name in message
    assert rule in message
    fitting = [int(side) for side in re.findall(r"\d+", message.partition("Sizes that fit:")[2])]
    assert fitting
    for side in fitting:
        with torch.device("meta"):
            network = create_backbone(name, num_classes=3, img_size=side)
            assert network(torch.zeros(2, 3, side, side)).shape == (2, 3)


def test_network_that_scales_images_itself_takes_any_size() -> None:
    """CrossViT can be built for few sizes, but brings every image to its own."""
    with torch.device("meta"):
        network = create_backbone("crossvit_tiny_240", num_classes=2, img_size=100)
        assert network(torch.zeros(2, 3, 100, 100)).shape == (2, 2)


def test_own_size_is_taken_even_where_patches_do_not_fill_it() -> None:
    with torch.device("meta"):
        network = create_backbone("vit_so400m_patch14_siglip_384", num_classes=2, img_size=384)
    assert network.patch_embed.grid_size == (27, 27)


def test_size_of_taos_larger_gcvit_gives_its_windows() -> None:
    """TAO's gc_vit_base_384 has windows of 12, 12, 24, 12."""
    with torch.device("meta"):
        network = create_backbone("gc_vit_base_384", num_classes=2, img_size=384)
    assert [stage.blocks[0].attn.window_size for stage in network.stages] == [
        (12, 12),
        (12, 12),
        (24, 24),
        (12, 12),
    ]


def test_encoder_without_class_scores_is_refused() -> None:
    with pytest.raises(SpecError, match=r"model\.backbone\.type: mobilenetv5_300m_enc .* no class scores"):
        create_backbone("mobilenetv5_300m_enc", num_classes=2, img_size=64)


def test_dropping_branches_that_are_not_there_is_refused() -> None:
    with pytest.raises(SpecError, match=r"model\.backbone\.drop_path_rate: 0\.1 .* vgg11"):
        create_backbone("vgg11", num_classes=2, img_size=32, drop_path_rate=0.1)


def test_head_of_a_distilled_network_has_two_parts() -> None:
    with torch.device("meta"):
        two = create_backbone("deit_tiny_distilled_patch16_224", num_classes=2, img_size=32)
        none = create_backbone("resnet18", num_classes=0, img_size=32)
    assert head_prefixes(two) == ("head", "head_dist")
    assert head_prefixes(none) == ()


def test_normalization_is_that_of_the_weights() -> None:
    assert default_normalization("resnet_18").mean == (0.485, 0.456, 0.406)
    assert default_normalization("tf_efficientnet_lite0").std == (0.5, 0.5, 0.5)
    assert default_normalization("vit_base_patch16_clip_224").mean == pytest.approx(
        (0.481, 0.458, 0.408), abs=1e-3
    )
    assert default_normalization("resnet50.a1_in1k").crop_pct == 0.95
    assert default_normalization("resnet50.tv_in1k").crop_pct == 0.875


def test_unknown_tag_names_those_that_exist() -> None:
    with pytest.raises(SpecError, match=r"no weights 'resnet18\.best'.*a1_in1k"):
        create_backbone("resnet18.best", num_classes=2, img_size=32)
