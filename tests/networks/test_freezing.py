from __future__ import annotations

import copy

import pytest
import timm.layers
import torch
from torch import nn

from tao_like.networks.freezing import freeze, freeze_norms, is_frozen, keep_frozen


def small_network() -> nn.Sequential:
    """For images of 8 x 8."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 6 * 6, 2)
    )


def train_once(network: nn.Module) -> None:
    network.train()
    keep_frozen(network)
    optimizer = torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad], lr=0.5, weight_decay=0.1
    )
    network(torch.randn(8, 3, 8, 8) + 3).square().sum().backward()
    optimizer.step()


def test_frozen_part_stays_as_it_is_while_the_rest_learns() -> None:
    network = small_network()
    freeze(network[:4])
    before = copy.deepcopy(network.state_dict())
    train_once(network)
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"4.weight", "4.bias"}


def test_without_keep_frozen_statistics_would_move() -> None:
    """What keep_frozen is for: train() alone switches the statistics on again."""
    network = small_network()
    freeze(network)
    network.train()
    assert network[1].training
    keep_frozen(network)
    assert not any(part.training for part in network.modules())


def test_freezing_norms_leaves_the_rest_to_learn() -> None:
    network = small_network()
    assert freeze_norms(network) == ["1"]
    before = copy.deepcopy(network.state_dict())
    train_once(network)
    after = network.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if name.startswith("1.")}
    assert network[2].training


def test_marks_are_in_no_state_dict_and_survive_a_copy() -> None:
    network = small_network()
    names = set(network.state_dict())
    freeze(network[1])
    assert set(network.state_dict()) == names
    twin = copy.deepcopy(network)
    twin.train()
    keep_frozen(twin)
    assert is_frozen(twin[1])
    assert not twin[1].training
    assert twin[0].training


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(8),
        nn.SyncBatchNorm(8),
        nn.GroupNorm(2, 8),
        nn.LayerNorm(8),
        timm.layers.BatchNormAct2d(8),
        timm.layers.SyncBatchNormAct(8),
        timm.layers.FrozenBatchNormAct2d(8),
        timm.layers.GroupNormAct(8, group_size=2),
        timm.layers.LayerNorm2d(8),
        timm.layers.LayerNormAct2d(8),
        timm.layers.RmsNorm(8),
        timm.layers.RmsNormAct2d(8),
        timm.layers.SimpleNorm2d(8),
        timm.layers.EvoNorm2dS0a(8),
        timm.layers.FilterResponseNormTlu2d(8),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_norm_layers_of_torch_and_timm_are_known(layer: nn.Module) -> None:
    network = nn.Sequential(nn.Linear(8, 8), layer)
    assert freeze_norms(network) == ["1"]
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert all(parameter.requires_grad for parameter in network[0].parameters())


def test_layers_named_norm_that_are_none_are_left_alone() -> None:
    network = timm.layers.ConvNormAct(3, 8)
    assert freeze_norms(network) == ["bn"]
    assert network.conv.weight.requires_grad
