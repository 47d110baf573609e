"""The structure of a pruned network: what is taken down, what is given back, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tao_like.errors import BundleError
from tao_like.networks import structure
from tao_like.networks.backbones.build import create_backbone
from tao_like.networks.heads import attention_heads


class Net(nn.Module):
    """A convolution with a batch norm, a depthwise one, and a linear layer."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, groups=width)
        self.gamma = nn.Parameter(torch.ones(width))
        self.fc = nn.Linear(width, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.depthwise(self.norm(self.conv(images)).relu()).mean((2, 3))
        logits: torch.Tensor = self.fc(features * self.gamma)
        return logits


def narrow() -> tuple[Net, dict[str, Any]]:
    """A network as its spec would build it, and the structure of one with 5 of its 8 channels."""
    return Net(8), structure.capture(Net(5))


def test_the_structure_names_sizes_and_shapes() -> None:
    assert structure.capture(Net(5)) == {
        "modules": {
            "conv": {"groups": 1, "in_channels": 3, "out_channels": 5},
            "norm": {"num_features": 5},
            "depthwise": {"groups": 5, "in_channels": 5, "out_channels": 5},
            "fc": {"in_features": 5, "out_features": 2},
        },
        "features": {},
        "tensors": {
            "gamma": [5],
            "conv.weight": [5, 3, 3, 3],
            "norm.weight": [5],
            "norm.bias": [5],
            "norm.running_mean": [5],
            "norm.running_var": [5],
            "norm.num_batches_tracked": [],
            "depthwise.weight": [5, 1, 3, 3],
            "depthwise.bias": [5],
            "fc.weight": [2, 5],
            "fc.bias": [2],
        },
    }


def test_a_network_cut_to_a_structure_takes_the_weights_and_answers_alike() -> None:
    network, sizes = narrow()
    source = Net(5).eval()
    network.fc.weight.requires_grad_(False)
    structure.apply(network, json.loads(json.dumps(sizes)))
    network.load_state_dict(source.state_dict())
    images = torch.rand(2, 3, 6, 6)
    assert torch.equal(network.eval()(images), source(images))
    assert structure.capture(network) == sizes
    assert isinstance(network.gamma, nn.Parameter)
    assert (network.gamma.requires_grad, network.fc.weight.requires_grad) == (True, False)


def test_a_structure_of_the_same_network_changes_nothing() -> None:
    network = Net()
    tensors = {name: id(tensor) for name, tensor in network.state_dict(keep_vars=True).items()}
    structure.apply(network, structure.capture(network))
    assert tensors == {name: id(tensor) for name, tensor in network.state_dict(keep_vars=True).items()}


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a structure: the last value, put where the others lead."""
    *parts, last, value = path

    def change(sizes: dict[str, Any]) -> None:
        place: Any = sizes
        for part in parts:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("modules", None),
        put("more", {}),
        put("modules", []),
        put("tensors", "all"),
        put("modules", "conv", None),
        put("modules", "__class__", {"out_channels": 1}),
        put("modules", "conv", "out_channels", None),
        put("modules", "conv", 5),
        put("modules", "conv", "forward", 1),
        put("modules", "conv", "weight", 1),
        put("modules", "conv", "out_channels", 9),
        put("modules", "conv", "out_channels", 10**12),
        put("modules", "conv", "out_channels", 0),
        put("modules", "conv", "out_channels", -1),
        put("modules", "conv", "out_channels", True),
        put("modules", "conv", "out_channels", 5.0),
        put("modules", "conv", "out_channels", "5"),
        put("modules", "conv", "out_channels", [5]),
        put("modules", "conv", "out_channels", 4),
        put("modules", "depthwise", "groups", 2),
        put("modules", "depthwise", "groups", 3),
        put("tensors", "conv.weight", None),
        put("tensors", "conv.extra", [5]),
        put("tensors", "conv.weight", [5, 3, 3]),
        put("tensors", "conv.weight", [5, 3, 3, 3, 1]),
        put("tensors", "conv.weight", [10**9, 3, 3, 3]),
        put("tensors", "conv.weight", [-5, 3, 3, 3]),
        put("tensors", "conv.weight", [4, 3, 3, 3]),
        put("tensors", "conv.weight", "[5, 3, 3, 3]"),
        put("tensors", "fc.weight", [2, [5]]),
        put("features", {"conv": [1]}),
    ],
)
def test_a_structure_that_does_not_fit_is_one_clear_error(change: Callable[[dict[str, Any]], None]) -> None:
    network, sizes = narrow()
    change(sizes)
    with pytest.raises(BundleError, match="structure"):
        structure.apply(network, sizes)


def test_a_structure_that_names_the_wrong_things_changes_nothing() -> None:
    network, sizes = narrow()
    before = copy.deepcopy(structure.capture(network))
    sizes["tensors"]["gamma"] = [9]
    with pytest.raises(BundleError, match=r"gamma.*no cut of \[8\]"):
        structure.apply(network, sizes)
    assert structure.capture(network) == before


def test_heads_go_with_their_rows_columns_and_scale() -> None:
    """Against attention computed head by head, without the module's own code."""
    torch.manual_seed(0)
    network = create_backbone("test_vit", num_classes=2, img_size=32).eval()
    heads = attention_heads(network)[0]
    module, width = heads.module, heads.size
    tokens = torch.rand(1, 5, heads.qkv.in_features)
    kept = list(range(1, heads.count))
    with torch.no_grad():
        query, key, value = heads.qkv(tokens).view(1, 5, 3, heads.count, width).unbind(2)
        outputs = [
            torch.softmax(query[0, :, h] @ key[0, :, h].T / width**0.5, dim=1) @ value[0, :, h] for h in kept
        ]
        columns = torch.cat([torch.arange(h * width, (h + 1) * width) for h in kept])
        expected = torch.cat(outputs, dim=1) @ heads.proj.weight[:, columns].T + heads.proj.bias
        heads.remove([0])
        actual = module(tokens)[0]
    assert module.num_heads == len(kept)
    assert torch.allclose(actual, expected, atol=1e-6)
    with pytest.raises(ValueError, match="without a head"):
        heads.remove(range(heads.count))


@pytest.mark.parametrize(
    ("name", "bare"), [("beit_base_patch16_224", "q_bias"), ("xcit_nano_12_p16_224", "temperature")]
)
def test_attention_whose_heads_cannot_be_told_apart_is_left_alone(name: str, bare: str) -> None:
    with torch.device("meta"):
        network = create_backbone(name, num_classes=2, img_size=224)
    with_it = {path.rpartition(".")[0] for path, _ in network.named_parameters() if path.endswith(f".{bare}")}
    assert with_it
    assert not {heads.name for heads in attention_heads(network)} & with_it


def test_what_a_backbone_says_of_its_widths_follows_its_layers() -> None:
    network = create_backbone("test_resnet", num_classes=2, img_size=32).eval()
    images = torch.rand(1, 3, 32, 32)
    before = [entry["num_chs"] for entry in structure.feature_items(network)]
    structure.refresh_widths(network, images)
    assert [entry["num_chs"] for entry in structure.feature_items(network)] == before
    assert network.num_features == network.fc.in_features
