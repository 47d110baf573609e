"""Low-rank additions: nothing at first, what alone learns, and that merged weights give the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tao_like.networks import lora

# isort: split
import timm


def network(name: str) -> nn.Module:
    """A network whose additions are no longer zero, in float64, where 1e-6 is far above rounding."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).double().eval()
    assert lora.adapt(model.requires_grad_(False), rank=2, alpha=6, dropout=0.5) > 4
    for layer in model.modules():
        if isinstance(layer, lora.LoraLinear | lora.LoraConv2d):
            assert not layer.lora_up.any()
            nn.init.normal_(layer.lora_up, std=0.05)
    return model


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet"])
def test_merged_weights_give_what_the_additions_gave(name: str) -> None:
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=5).double().eval()
    model = network(name)
    pixels = torch.rand(2, 3, 160, 160).double()
    with torch.no_grad():
        before, adapted = plain(pixels), model(pixels)
        assert (before - adapted).abs().max() > 1e-3
        assert lora.merge(model) > 4
        assert torch.allclose(model(pixels), adapted, atol=1e-6, rtol=0)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [type(one) for one in model.modules()] == [type(one) for one in plain.modules()]


def test_an_addition_is_the_paper_s_product() -> None:
    layer = nn.Linear(6, 4)
    holder = nn.Sequential(copy.deepcopy(layer))
    assert lora.adapt(holder, rank=2, alpha=3) == 1
    nn.init.normal_(holder[0].lora_up)
    values = torch.rand(5, 6)
    product = holder[0].lora_up @ holder[0].lora_down
    expected = values @ (layer.weight + 3 / 2 * product).T + layer.bias
    assert torch.allclose(holder(values), expected, atol=1e-6)


def test_only_the_additions_learn_and_dropout_is_for_training_alone() -> None:
    model = network("test_vit")
    learning = {name for name, one in model.named_parameters() if one.requires_grad}
    assert learning == {name for name, _ in model.named_parameters() if "lora_" in name}
    pixels = torch.rand(2, 3, 160, 160).double()
    with torch.no_grad():
        assert model(pixels).equal(model(pixels))
        model.train()
        assert not model(pixels).equal(model(pixels))


def test_thin_and_grouped_layers_and_those_named_stay_as_they_are() -> None:
    grouped, thin, own = nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 3), nn.Linear(8, 8)
    holder = nn.Sequential(grouped, thin, own, nn.Linear(8, 8))
    assert lora.adapt(holder, rank=2, alpha=4, skip=[own]) == 1
    assert list(holder)[:3] == [grouped, thin, own]
    assert isinstance(holder[3], lora.LoraLinear)
