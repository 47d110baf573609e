"""Pruning of networks, family by family, and of small ones whose output is known."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from tao_like.errors import ConversionError, SpecError
from tao_like.networks import (
    _torchvision,  # noqa: F401
    structure,
)

# isort: split
import timm

from tao_like.contract.model import Prunable
from tao_like.stages.lib.cost import network_cost
from tao_like.stages.prune.criteria import batch_norm_scale, magnitude, relative, taylor
from tao_like.stages.prune.proof import remove_proven
from tao_like.stages.prune.selection import Choice, MacsEstimate, Rules, choose, find_ratio
from tao_like.stages.prune.units import ChannelGroup, HeadUnit, Unit, find_units

SIDE = 64
# The smallest of each family; vgg's own first linear layer would have 100 million weights.
FAMILIES: dict[str, dict[str, object]] = {
    "resnet18": {},
    "vgg11_bn": {"mlp_ratio": 1 / 64},
    "tf_efficientnet_lite0": {},
    "mobilenetv2_050": {},
    "mobilenetv3_small_050": {},
    "convnext_atto": {},
    "darknet17": {},
    "cspdarknet53": {},
    "resnext26ts": {},
    "regnety_002": {},
    "test_efficientnet_gn": {},
    "vit_tiny_patch16_224": {"img_size": SIDE},
    "deit_tiny_distilled_patch16_224": {"img_size": SIDE},
    "swin_tiny_patch4_window7_224": {"img_size": SIDE, "window_size": 2},
}


def settled(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with norm layers that are no longer the same for every channel."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


def family(name: str) -> nn.Module:
    return settled(timm.create_model(name, num_classes=5, **FAMILIES[name]))


def prunable(network: nn.Module, *inputs: Tensor) -> Prunable:
    heads = network.get_classifier() if hasattr(network, "get_classifier") else []
    images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return Prunable(inputs or (images,), list(heads) if isinstance(heads, tuple | list) else [heads])


def rules(units: Sequence[Unit], scope: str = "global", max_ratio: float = 0.9) -> Rules:
    return Rules(scope, max_ratio, {unit.name: unit.size for unit in units})


def halve(network: nn.Module, granularity: int = 8) -> tuple[list[Unit], Choice, float]:
    """Prunes to half the MACs, in place: the units as they were, the choice, and the fraction that stays."""
    example = prunable(network)
    units = find_units(network, example, granularity=granularity)
    estimate = MacsEstimate(network, units, example.inputs)
    scores = relative(magnitude(units, 2))
    choice = find_ratio(
        0.5, estimate.total, estimate, lambda ratio: choose(units, scores, ratio, rules(units))
    )
    promised = estimate.of(choice)
    remove_proven(network, units, choice, example.inputs)
    macs = network_cost(network, example.inputs).macs
    assert macs == pytest.approx(promised, rel=1e-6)
    return units, choice, macs / estimate.total


# Those whose units another family has too are left to `make acceptance`.
ALIKE = ("cspdarknet53", "regnety_002", "resnext26ts", "deit_tiny_distilled_patch16_224", "mobilenetv2_050")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.acceptance if name in ALIKE else ()) for name in FAMILIES],
)
def test_a_family_is_halved_keeps_multiples_and_comes_back_to_the_bit(name: str) -> None:
    network = family(name)
    images = prunable(network).inputs[0]
    units, choice, share = halve(network)
    assert share == pytest.approx(0.5, abs=0.03)
    for unit, elements in zip(units, choice, strict=True):
        if isinstance(unit, ChannelGroup) and elements:
            kept = unit.channels - len(elements) * unit.divisions
            assert kept % 8 == 0, unit.name
    structure.refresh_widths(network, images)
    sizes = structure.capture(network)
    again = timm.create_model(name, num_classes=5, **FAMILIES[name]).eval()
    structure.apply(again, sizes)
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again(images), network(images))
        features = network.forward_features(images)
    assert network.num_features in features.shape
    assert structure.capture(again) == sizes


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_feature_info_tells_the_channels_that_really_come(name: str) -> None:
    network = family(name)
    images = prunable(network).inputs[0]
    halve(network)
    structure.refresh_widths(network, images)
    seen: dict[str, int] = {}
    for entry in structure.feature_items(network):

        def note(module: nn.Module, given: object, output: Tensor, key: str = entry["module"]) -> None:
            seen[key] = output.shape[1]

        network.get_submodule(entry["module"]).register_forward_hook(note)
    with torch.no_grad():
        network(images)
    assert {entry["module"]: entry["num_chs"] for entry in structure.feature_items(network)} == seen


def test_a_vision_transformer_loses_heads_and_hidden_width_alone() -> None:
    network = family("vit_tiny_patch16_224")
    units, choice, _ = halve(network)
    lost = {type(unit): sum(len(elements) for elements in choice) for unit in units}
    assert {type(unit) for unit in units} == {ChannelGroup, HeadUnit}
    assert all(lost.values())
    assert all(unit.name.endswith(("mlp.fc1", "attn")) for unit in units)
    assert network.pos_embed.shape[-1] == network.embed_dim == 192
    for block in network.blocks:
        assert block.attn.qkv.out_features == 3 * block.attn.attn_dim == 3 * 64 * block.attn.num_heads


def test_the_bare_gamma_of_a_convnext_goes_with_its_channels() -> None:
    network = family("convnext_atto")
    halve(network)
    widths = {len(block.gamma) for stage in network.stages for block in stage.blocks}
    assert min(widths) < 40
    for stage in network.stages:
        for block in stage.blocks:
            width = block.conv_dw.out_channels
            assert len(block.gamma) == width == block.conv_dw.groups == block.norm.normalized_shape[0]


def test_groups_of_a_convolution_stay_alike() -> None:
    network = family("resnext26ts")
    before = {
        name: module.groups for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    }
    halve(network)
    grouped = [name for name, groups in before.items() if groups > 1]
    assert grouped
    for name in grouped:
        module = network.get_submodule(name)
        assert module.groups == before[name]
        assert module.in_channels % module.groups == module.out_channels % module.groups == 0


# --- networks whose output is known ---


class Chain(nn.Module):
    """Two convolutions, a sum with the first's output, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(4, 4, 1, bias=False)
        self.fc = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images).relu()
        logits: Tensor = self.fc((self.second(first) + first).mean((2, 3)))
        return logits


def test_a_channel_goes_from_every_layer_that_shares_it() -> None:
    network = Chain()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    example = Prunable((torch.rand(1, 3, 5, 5),), [network.fc])
    (unit,) = find_units(network, example, granularity=1)
    assert isinstance(unit, ChannelGroup)
    unit.remove([1])
    kept = [0, 2, 3]
    assert torch.equal(network.first.weight, weights["first.weight"][kept])
    assert torch.equal(network.first.bias, weights["first.bias"][kept])
    assert torch.equal(network.second.weight, weights["second.weight"][kept][:, kept])
    assert torch.equal(network.fc.weight, weights["fc.weight"][:, kept])
    assert torch.equal(network.fc.bias, weights["fc.bias"])


def test_magnitude_is_the_norm_of_all_weights_of_a_channel() -> None:
    network = Chain()
    example = Prunable((torch.rand(1, 3, 5, 5),), [network.fc])
    units = find_units(network, example, granularity=1)
    for norm in (1, 2):
        for channel in range(4):
            rows = [network.first.weight[channel], network.second.weight[channel]]
            columns = [network.second.weight[:, channel], network.fc.weight[:, channel]]
            expected = torch.cat([part.flatten() for part in (*rows, *columns)]).norm(norm)
            score = magnitude(units, norm)[0][channel].detach()
            assert float(score) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_taylor_foretells_what_the_loss_changes_without_a_channel() -> None:
    """Against the loss itself, with the channel's values scaled down a little."""
    torch.manual_seed(0)
    network = Chain().double()
    images = torch.rand(2, 3, 5, 5).double()
    example = Prunable((images,), [network.fc])
    units = find_units(network, example, granularity=1)
    (scores,) = taylor(units, [network(images).square().sum()])
    step = 1e-6
    for channel in range(4):
        shrunk = copy.deepcopy(network)
        with torch.no_grad():
            # What reads the channel sees a little less of it.
            shrunk.second.weight[:, channel] *= 1 - step
            shrunk.fc.weight[:, channel] *= 1 - step
            change = (network(images).square().sum() - shrunk(images).square().sum()) / step
        assert float(scores[channel]) == pytest.approx(float(change) ** 2, rel=1e-3)


def test_batch_norm_scale_takes_the_scales_and_needs_some() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten()
    )
    nn.init.uniform_(network[1].weight, -1, 1)
    example = Prunable((torch.rand(1, 3, 1, 1),), [network[3]])
    (scores,) = batch_norm_scale(find_units(network, example, granularity=1))
    assert torch.equal(scores, network[1].weight.detach().abs())
    bare = Chain()
    with pytest.raises(SpecError, match=r"prune\.criterion: bn_scale needs batch norms"):
        batch_norm_scale(find_units(bare, Prunable((torch.rand(1, 3, 5, 5),), [bare.fc]), granularity=1))


def test_what_comes_out_of_a_network_keeps_its_channels_unasked() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 6, 1))
    units = find_units(network, Prunable((torch.rand(1, 3, 4, 4),), []), granularity=1)
    assert [unit.name for unit in units] == ["0"]


def test_an_excluded_layer_shrinks_on_no_side() -> None:
    network = nn.Sequential(*(nn.Conv2d(3 if n == 0 else 8, 8, 1) for n in range(5)))
    example = Prunable((torch.rand(1, 3, 4, 4),), [])
    units = find_units(network, example, granularity=1, excluded=[network[2]])
    assert [unit.name for unit in units] == ["0", "3"]


class Cutting(nn.Module):
    """Writes down where it cuts its channels, as some networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 1)
        self.after = nn.Conv2d(4, 4, 1)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        left, right = self.wide(images).split(4, dim=1)
        output: Tensor = self.out(self.after(left) + self.after(right))
        return output


class Ghost(nn.Module):
    """Joins a convolution's channels with copies of them: the first of both go together or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.own = nn.Conv2d(8, 4, 1)
        self.copy = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        own = self.own(stem)
        output: Tensor = self.out(torch.cat([own, self.copy(own)], dim=1) + stem)
        return output


def test_channels_that_drag_others_of_their_group_along_stay() -> None:
    network = Ghost()
    example = Prunable((torch.rand(1, 3, 4, 4),), [])
    units = find_units(network, example, granularity=1)
    assert "stem" not in {unit.name for unit in units}
    remove_proven(network, units, [[0] for _ in units], example.inputs)


def test_channels_before_a_fixed_cut_stay() -> None:
    network = Cutting()
    units = find_units(network, Prunable((torch.rand(1, 3, 4, 4),), []), granularity=1)
    assert "wide" not in {item.name for unit in units for item in unit.items}


class Shuffled(nn.Module):
    """Reads its channels in another order than they come in, by an index that pruning knows nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images).relu()
        output: Tensor = self.last(features.flip(1))
        return output


class Fixed(Shuffled):
    """Has a constant of the unpruned size in its forward pass."""

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.last(self.first(images).relu() + torch.ones(8, 1, 1))
        return output


@pytest.mark.parametrize(("network", "words"), [(Shuffled(), "other outputs"), (Fixed(), "no longer runs")])
def test_a_network_that_cannot_be_pruned_is_refused_in_one_sentence(network: nn.Module, words: str) -> None:
    example = Prunable((torch.rand(1, 3, 4, 4),), [])
    units = find_units(network, example, granularity=1)
    with pytest.raises(ConversionError, match=rf"this architecture cannot be pruned.*{words}"):
        remove_proven(network, units, [[0, 1] for _ in units], example.inputs)


# --- how much goes ---


def test_what_each_element_spares_is_what_the_count_loses() -> None:
    network = family("resnet18")
    example = prunable(network)
    units = find_units(network, example, granularity=1)
    estimate = MacsEstimate(network, units, example.inputs)
    units[0].remove([0])
    spared = estimate.total - network_cost(network, example.inputs).macs
    assert estimate.each()[0] == pytest.approx(spared / estimate.total, rel=1e-6)


def test_a_local_ratio_takes_the_same_fraction_of_every_layer_and_a_global_one_the_smallest() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1))
    units = find_units(network, Prunable((torch.rand(1, 3, 4, 4),), []), granularity=1)
    assert [unit.name for unit in units] == ["0", "1"]
    # Relative to the mean of their layer, the four smallest are three of the first and one of the second.
    scores = [
        torch.tensor([1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]),
        torch.tensor([50.0, 20.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0]),
    ]
    scores = relative(scores)
    assert choose(units, scores, 0.25, rules(units, "global")) == [[0, 1, 2], [1]]
    local = choose(units, scores, 0.25, rules(units, "local"))
    assert [len(elements) for elements in local] == [2, 2]
    assert 1 in local[1]


def test_elements_of_equal_score_go_one_by_one_as_many_as_asked_for() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1))
    units = find_units(network, Prunable((torch.rand(1, 3, 4, 4),), []), granularity=1)
    scores = [torch.zeros(8), torch.zeros(8)]
    choice = choose(units, scores, 0.25, rules(units))
    assert sum(len(elements) for elements in choice) == 4


def test_no_layer_loses_more_than_the_largest_ratio() -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 2, 1))
    units = find_units(network, Prunable((torch.rand(1, 3, 4, 4),), []), granularity=1)
    scores = [torch.full((16,), 1.0), torch.full((16,), 1.0)]
    for scope in ("global", "local"):
        choice = choose(units, scores, 0.99, rules(units, scope, max_ratio=0.5))
        assert [len(elements) for elements in choice] == [8, 8]


def test_a_share_that_cannot_be_reached_is_an_error_that_says_how_far_it_goes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 2, 1))
    example = Prunable((torch.rand(1, 3, 4, 4),), [])
    units = find_units(network, example, granularity=1)
    estimate = MacsEstimate(network, units, example.inputs)
    scores = magnitude(units, 2)
    keep_half = rules(units, max_ratio=0.5)
    # 3*8 + 8*8 + 8*2 of 3*16 + 16*16 + 16*2 products a pixel: 104 of 336.
    with pytest.raises(SpecError, match=r"prune\.target_macs=0\.1.*0\.310"):
        find_ratio(0.1, estimate.total, estimate, lambda ratio: choose(units, scores, ratio, keep_half))
