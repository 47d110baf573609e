"""Pruning of networks that make images: what may go, and that the rest keeps its sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_text_to_image import SMALLEST, TINY, data_overrides, write_pairs
from torch import nn

import tao_like
from tao_like.bundle import read_bundle
from tao_like.config import load_spec
from tao_like.stages.prune.inner import InnerChannelsUnit, inner_units
from tao_like.stages.prune.proof import remove_proven
from tao_like.tasks.text_to_image.model.build import build_glide, build_unclip
from tao_like.tasks.text_to_image.model.parts import Transformer
from tao_like.tasks.text_to_image.model.unet import ResBlock
from tao_like.tasks.text_to_image.pruning import prunable_parts
from tao_like.tasks.text_to_image.spec import Spec


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name tiny splits."""
    return data_overrides(write_pairs(tmp_path_factory.mktemp("pairs")))


@pytest.mark.parametrize(
    ("arch", "shrinks", "stays"),
    [
        (["model.arch=dalle"], ["transformer"], ["dvae"]),
        pytest.param(
            ["model.arch=unclip", "model.unclip.caption_sum=true"],
            ["prior", "decoder"],
            ["clip"],
            marks=pytest.mark.acceptance,
        ),
        pytest.param(
            ["model.arch=unclip", "model.unclip.prior=autoregressive"],
            ["prior", "decoder"],
            ["clip"],
            marks=pytest.mark.acceptance,
        ),
    ],
    ids=["dalle", "unclip", "autoregressive"],
)
def test_parts_shrink_and_the_bundle_keeps_its_promise(
    arch: list[str], shrinks: list[str], stays: list[str], data: list[str], tmp_path: Path
) -> None:
    words = [*arch, *TINY, *data, "train.num_epochs=1", f"results_dir={tmp_path}"]

    def run(stage: str, *more: str) -> Any:
        return tao_like.run("text_to_image", stage, None, [*words, *more], quiet=True)

    trained = run("train")
    pruned = run("prune", "prune.ratio=0.4", "prune.granularity=2")
    assert 0.5 < pruned.macs_share < 1
    before, after = (read_bundle(one).parts for one in (trained.bundle, pruned.bundle))
    for name in stays:
        assert all(torch.equal(one, after[name].weights[key]) for key, one in before[name].weights.items())
    for name in shrinks:
        own, left = before[name].weights, after[name].weights
        assert sum(one.numel() for one in left.values()) < sum(one.numel() for one in own.values())
        for key in (key for key in own if "qkv" in key or "proj" in key or key.endswith("skip.weight")):
            assert own[key].shape == left[key].shape, key
    scored = run("evaluate", f"evaluate.checkpoint={pruned.bundle}", "evaluate.split=val")
    assert scored.metrics == pytest.approx(pruned.metrics, abs=1e-6)
    again = run("train", f"train.pruned_model_path={pruned.bundle}", f"results_dir={tmp_path / 'again'}")
    shapes = [
        {key: one.shape for part in read_bundle(path).parts.values() for key, one in part.weights.items()}
        for path in (pruned.bundle, again.bundle)
    ]
    assert shapes[0] == shapes[1]
    exported = run("export", f"export.checkpoint={again.bundle}", f"results_dir={tmp_path / 'again'}")
    assert exported.difference < 1e-4


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            ["model.arch=glide", "model.glide.inpaint=true", "model.upsampler.sides=[32]"],
            ["upsampler_1", "base"],
        ),
        (["model.arch=unclip", "model.unclip.caption_sum=true"], ["prior", "decoder"]),
        (["model.arch=unclip", "model.unclip.prior=autoregressive"], ["prior", "decoder"]),
    ],
    ids=["glide", "unclip", "autoregressive"],
)
def test_each_part_runs_on_its_examples_and_shrinks_with_the_proof(
    settings: list[str], names: list[str]
) -> None:
    torch.manual_seed(0)
    spec = load_spec(Spec, {}, [*SMALLEST, *settings]).spec.model
    model = (build_glide if spec.arch == "glide" else build_unclip)(spec, 20).eval()
    text = torch.tensor([[1, 5, 9, 2, *[0] * (spec.context_length - 4)]])
    parts = prunable_parts(model, spec, text)
    assert list(parts) == names
    for name, one in parts.items():
        network = one.runs or model.parts()[name]
        with torch.no_grad():
            before = network(*one.inputs)
        assert torch.isfinite(before).all()
        units = inner_units(network, granularity=1)
        assert units
        assert one.inner
        sizes = sum(weight.numel() for weight in network.parameters())
        assert remove_proven(network, units, [[0] for _ in units], one.inputs) < 1e-4
        assert sum(weight.numel() for weight in network.parameters()) < sizes
        with torch.no_grad():
            assert network(*one.inputs).shape == before.shape


class Two(nn.Module):
    """A block between its neighbors."""

    def __init__(self, *, scale_shift: bool) -> None:
        super().__init__()
        self.block = ResBlock(8, 12, 128, scale_shift=scale_shift)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        return self.block(x, embedding)


@pytest.mark.parametrize("scale_shift", [True, False])
def test_a_residual_block_loses_whole_groups_of_its_norm(scale_shift: bool) -> None:
    torch.manual_seed(0)
    network = Two(scale_shift=scale_shift)
    (unit,) = inner_units(network, granularity=8)
    assert isinstance(unit, InnerChannelsUnit)
    assert (unit.size, unit.width, unit.step) == (32, 4, 2)  # 128 channels in 32 groups
    inputs = torch.randn(2, 8, 6, 6), torch.randn(2, 12)
    block = network.block
    # What is left, computed with the channels of groups 0 and 5 set to nothing by hand.
    gone = [*range(0, 4), *range(20, 24)]
    kept = [channel for channel in range(128) if channel not in gone]
    with torch.no_grad():
        weight = block.conv2.weight.clone()
        block.conv2.weight[:, gone] = 0
        expected = network(*inputs)
        block.conv2.weight.copy_(weight)
    difference = remove_proven(network, [unit], [[0, 5]], inputs)
    assert difference < 1e-5
    torch.testing.assert_close(network(*inputs), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(block.conv2.weight, weight[:, kept])
    assert (block.norm2.num_groups, block.norm2.num_channels, block.conv1.out_channels) == (30, 120, 120)
    assert block.embed.out_features == (240 if scale_shift else 120)


def test_what_is_excluded_stays_and_scores_follow_the_weights() -> None:
    from tao_like.stages.prune.criteria import magnitude

    torch.manual_seed(0)
    network = Transformer(8, 2, 2)
    units = inner_units(network, granularity=4)
    assert [unit.name for unit in units] == ["blocks.0.mlp.0", "blocks.1.mlp.0"]
    assert [unit.size for unit in units] == [32, 32]
    scores = magnitude(units, 2)
    first, last = network.blocks[0].mlp[0], network.blocks[0].mlp[2]
    by_hand = ((first.weight**2).sum(dim=1) + (last.weight**2).sum(dim=0)).sqrt()
    torch.testing.assert_close(scores[0], by_hand.detach())
    left = inner_units(network, granularity=4, excluded=[network.blocks[0]])
    assert [unit.name for unit in left] == ["blocks.1.mlp.0"]
