"""The count of multiply-accumulates, against cases worked out by hand and against another counter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tao_like.networks import _torchvision  # noqa: F401

# isort: split
import timm
import torch_pruning

from tao_like.stages.lib.cost import network_cost


def test_convolutions_and_linear_layers_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 4, 1, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    cost = network_cost(network, [torch.rand(1, 3, 16, 16)])
    pixels = 8 * 8
    assert cost.macs == pixels * (8 * 3 * 9 + 8 * 9 + 4 * 4) + 4 * 5
    assert cost.parameters == 8 * 3 * 9 + 8 * 9 + 4 * 4 + 4 * 5


def test_a_vision_transformer_by_its_formula() -> None:
    """Products of attention included: they are in no module of their own."""
    network = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=64)
    patches, width, depth = (64 // 16) ** 2, 192, 12
    tokens = patches + 1
    block = tokens * (4 + 8) * width**2 + 2 * tokens**2 * width
    expected = patches * width * 3 * 16**2 + depth * block + width * 10
    assert network_cost(network, [torch.rand(1, 3, 64, 64)]).macs == expected


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_whole_networks_against_the_count_of_torch_pruning(name: str) -> None:
    network = timm.create_model(name, num_classes=10).eval()
    images = torch.rand(1, 3, 64, 64)
    macs, parameters = torch_pruning.utils.count_ops_and_params(network, images)
    cost = network_cost(network, [images])
    added = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim == 1)
    assert cost.parameters == parameters - added
    # The other counter takes norm layers and biases in, and leaves out convolutions of a class of timm's own.
    assert cost.macs == pytest.approx(macs, rel=0.06)


def test_counting_leaves_the_modes_of_a_network() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    network.train()
    network[1].eval()
    network_cost(network, [torch.rand(1, 3, 4, 4)])
    assert [module.training for module in network] == [True, False, True]
