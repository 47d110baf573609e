"""The learning rate, step by step, against values worked out by hand; and the optimizer's groups."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_classification import data_overrides, tiny_spec

from tao_like.errors import SpecError
from tao_like.networks import _torchvision  # noqa: F401
from tao_like.stages.train.setup.optim import (
    build_optimizer,
    build_schedule,
    fitting_warmup,
    parameter_groups,
    scaled_rates,
)
from tao_like.tasks import task_class

# isort: split
from timm import create_model

STEPS_PER_EPOCH = 2
EPOCHS = 4


def rates(*overrides: str) -> dict[str, list[float]]:
    """The rate of each group at every step of four epochs of two steps; the highest rate is 1."""
    settings = [f"train.num_epochs={EPOCHS}", "train.optim.lr=1.0", *overrides]
    spec = tiny_spec(*settings).train.optim
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "name": name, "lr": rate}
        for name, rate in (("new", spec.lr), ("backbone", spec.lr_backbone or spec.lr))
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    schedule = build_schedule(optimizer, spec, EPOCHS, STEPS_PER_EPOCH, EPOCHS * STEPS_PER_EPOCH)
    found: dict[str, list[float]] = {"new": [], "backbone": []}
    for _ in range(EPOCHS * STEPS_PER_EPOCH):
        for group in optimizer.param_groups:
            found[group["name"]].append(group["lr"])
        optimizer.step()
        schedule.step()
    return found


def half_cosine(progress: float) -> float:
    """From 1 at the start to 0 at the end."""
    return (1 + math.cos(math.pi * progress)) / 2


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["policy=constant"], [1.0] * 8),
        (["policy=linear"], [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (["policy=linear", "policy_params.min_lr_ratio=0.2"], [1 - 0.8 * step / 8 for step in range(8)]),
        (["policy=cosine"], [half_cosine(step / 8) for step in range(8)]),
        (["policy=step", "policy_params={step_size: 2, gamma: 0.5}"], [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]),
        (
            ["policy=step", "policy_params={step_size: 1, gamma: 0.1}"],
            [1, 1, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3],
        ),
        (
            ["policy=multistep", "policy_params={milestones: [1, 3], gamma: 0.5}"],
            [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25],
        ),
        (["policy=constant", "warmup_epochs=1.5"], [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1]),
        (["policy=linear", "warmup_epochs=1"], [1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (["policy=cosine", "warmup_epochs=1"], [1 / 2, 1, *(half_cosine(step / 6) for step in range(6))]),
    ],
)
def test_each_policy_step_by_step(overrides: list[str], expected: list[float]) -> None:
    found = rates(*(f"train.optim.{override}" for override in overrides))
    assert found["new"] == pytest.approx(expected)
    assert found["backbone"] == pytest.approx(expected)


def test_the_backbone_has_a_rate_of_its_own() -> None:
    found = rates("train.optim.policy=linear", "train.optim.lr_backbone=0.1")
    assert found["backbone"] == pytest.approx([rate / 10 for rate in found["new"]])


def test_the_backbone_waits_while_the_head_learns_alone_and_then_warms_up() -> None:
    found = rates(
        "train.optim.policy=linear", "train.optim.head_epochs=1", "train.optim.warmup_epochs=1",
        "train.optim.lr_backbone=0.1",
    )  # fmt: skip
    assert found["new"] == pytest.approx([1 / 2, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert found["backbone"] == pytest.approx([0, 0, 0.05, 0.1, 0.1, 0.075, 0.05, 0.025])


@pytest.fixture
def network_and_task(class_folders: Path) -> tuple[torch.nn.Module, Any]:
    """The tiny network and its task."""
    task = task_class("classification")(tiny_spec(*data_overrides(class_folders)))
    return task.model(pretrained=True)[0], task


def optimizer_of(network_and_task: tuple[torch.nn.Module, Any], *overrides: str) -> torch.optim.Optimizer:
    """The optimizer of a spec over the tiny network."""
    network, task = network_and_task
    return build_optimizer(task.phases()[0], network, tiny_spec(*overrides).train.optim)


@pytest.mark.parametrize("backbone", ["lr_backbone=0.1", "backbone_multiplier=0.2"])
def test_every_parameter_is_in_one_group_by_place_and_by_decay(
    backbone: str, network_and_task: tuple[torch.nn.Module, Any]
) -> None:
    network, _ = network_and_task
    optimizer = optimizer_of(
        network_and_task, "train.optim.lr=0.5", f"train.optim.{backbone}", "train.optim.weight_decay=0.2"
    )
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert names[id(parameter)] not in seen
            seen[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert seen.keys() == set(names.values())
    for name, (rate, decay) in seen.items():
        in_head = name.startswith("backbone.fc.")
        assert rate == (0.5 if in_head else 0.1), name
        assert decay == (0.2 if dict(network.named_parameters())[name].ndim > 1 else 0.0), name


def test_named_parameters_get_no_weight_decay(network_and_task: tuple[torch.nn.Module, Any]) -> None:
    network, _ = network_and_task
    optimizer = optimizer_of(network_and_task, 'train.optim.skip_names=["layer1"]')
    undecayed = {
        id(parameter)
        for group in optimizer.param_groups
        if group["weight_decay"] == 0
        for parameter in group["params"]
    }
    for name, parameter in network.named_parameters():
        assert (id(parameter) in undecayed) == (parameter.ndim == 1 or "layer1" in name), name


def test_rates_for_64_samples_follow_the_samples_of_all_processes_and_accumulated_batches() -> None:
    given = ["train.optim.lr=0.01", "train.optim.lr_backbone=0.001", "train.accumulate_grad_batches=2"]
    for batch, processes, meant_for, expected in ((8, 1, 64, 0.0025), (16, 4, 64, 0.02), (16, 4, None, 0.01)):
        scaled = [] if meant_for is None else [f"train.optim.lr_batch_size={meant_for}"]
        spec = tiny_spec(*given, *scaled).train
        rates = scaled_rates(spec.optim, batch * processes * spec.accumulate_grad_batches)
        assert (rates.lr, rates.lr_backbone) == pytest.approx((expected, expected / 10))


@pytest.mark.parametrize(
    "name",
    ["sgd", "adam", "adamw", "adamax", "nadam", "nadamw", "radam", "rmsprop", "lamb", "lion", "adafactor"],
)
def test_every_optimizer_of_the_spec_makes_a_step(
    name: str, network_and_task: tuple[torch.nn.Module, Any]
) -> None:
    network, _ = network_and_task
    optimizer = optimizer_of(network_and_task, f"train.optim.optim={name}")
    before = network.backbone.fc.weight.detach().clone()
    network(torch.zeros(2, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    assert network.backbone.fc.weight.isfinite().all()
    assert not network.backbone.fc.weight.equal(before)


NO_DECAY = {
    # Read off the networks' own papers and code, not asked of `no_weight_decay`.
    "vit_tiny_patch16_224": {"cls_token", "pos_embed"},
    "deit_tiny_distilled_patch16_224": {"cls_token", "dist_token", "pos_embed"},
    "swin_tiny_patch4_window7_224": {"relative_position_bias_table"},
}


@pytest.mark.parametrize("name", NO_DECAY)
def test_positions_and_tokens_get_no_weight_decay_wherever_the_network_stands(name: str) -> None:
    """timm's network is a part of a part of the model here."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Sequential(create_model(name)))
    phase = SimpleNamespace(backbone=lambda model: [])
    spec = tiny_spec("train.optim.weight_decay=0.1").train.optim
    decays = {
        id(parameter): group["weight_decay"]
        for group in parameter_groups(phase, model, spec)
        for parameter in group["params"]
    }
    seen = set()
    for place, parameter in model.named_parameters():
        last = place.rpartition(".")[2]
        seen.add(last)
        expected = 0.0 if last in NO_DECAY[name] or parameter.ndim == 1 else 0.1
        assert decays[id(parameter)] == expected, place
    assert NO_DECAY[name] <= seen


def test_rates_fall_from_layer_to_layer(class_folders: Path) -> None:
    """Of a transformer: stem, blocks (the last with the norm) and head, each at half of the next one's."""
    words = [*data_overrides(class_folders), "model.backbone.type=test_vit"]
    task = task_class("classification")(tiny_spec(*words))
    model, _ = task.model(pretrained=True)
    blocks = len(model.backbone.blocks)
    spec = tiny_spec("train.optim.lr=0.1", "train.optim.layer_decay=0.5").train.optim
    groups = parameter_groups(task.phases()[0], model, spec)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["backbone.head.weight"] == pytest.approx(0.1)
    assert found["backbone.norm.weight"] == pytest.approx(0.05)
    assert blocks > 2
    for block in range(blocks):
        assert found[f"backbone.blocks.{block}.mlp.fc1.weight"] == pytest.approx(
            0.05 * 0.5 ** (blocks - 1 - block)
        )
    assert found["backbone.patch_embed.proj.weight"] == pytest.approx(0.05 * 0.5**blocks)
    plain = SimpleNamespace(backbone=lambda model: [])
    with pytest.raises(SpecError, match=r"train\.optim\.layer_decay"):
        parameter_groups(plain, torch.nn.Linear(2, 2), spec)


def test_a_warm_up_that_would_fill_the_training_is_cut_to_half_of_it() -> None:
    for warmup, epochs, policy, expected in (
        (1, 1, "cosine", 0.5),
        (5, 2, "linear", 1.0),
        (1.5, 4, "cosine", 1.5),
        (5, 2, "one_cycle", 5),
    ):
        words = [f"train.optim.warmup_epochs={warmup}", f"train.optim.policy={policy}"]
        spec = tiny_spec(f"train.num_epochs={epochs}", *words).train.optim
        assert fitting_warmup(spec, epochs).warmup_epochs == expected
    with pytest.raises(SpecError, match=r"optim\.head_epochs: 2 fills all of train\.num_epochs=2"):
        tiny_spec("train.num_epochs=2", "train.optim.head_epochs=2")


def test_momentum_and_betas_reach_the_optimizer(network_and_task: tuple[torch.nn.Module, Any]) -> None:
    sgd = optimizer_of(network_and_task, "train.optim.optim=sgd", "train.optim.momentum=0.7")
    assert {group["momentum"] for group in sgd.param_groups} == {0.7}
    adam = optimizer_of(network_and_task, "train.optim.optim=adam", "train.optim.betas=[0.8,0.95]")
    assert {tuple(group["betas"]) for group in adam.param_groups} == {(0.8, 0.95)}


def test_with_everything_frozen_there_is_nothing_to_train(
    network_and_task: tuple[torch.nn.Module, Any],
) -> None:
    network_and_task[0].requires_grad_(False)
    with pytest.raises(SpecError, match="everything is frozen"):
        optimizer_of(network_and_task)


# --- one cycle ---


def cycle_of(
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, steps: int
) -> list[tuple[float, float]]:
    """Rate and momentum of every step."""
    found = []
    for _ in range(steps):
        (group,) = optimizer.param_groups
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        found.append((group["lr"], momentum))
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize(("pct_start", "div_factor", "epochs"), [(0.4, 10, 10), (0.3, 25, 7), (0.5, 4, 2)])
def test_one_cycle_is_torch_s(kind: str, pct_start: float, div_factor: float, epochs: int) -> None:
    words = f"{{pct_start: {pct_start}, div_factor: {div_factor}, moms: [0.95, 0.8]}}"
    settings = [f"train.num_epochs={epochs}", "train.optim.lr=0.3", f"train.optim.optim={kind}"]
    spec = tiny_spec(
        *settings, "train.optim.policy=one_cycle", f"train.optim.policy_params={words}"
    ).train.optim
    steps = epochs * STEPS_PER_EPOCH
    kinds: dict[str, Any] = {
        "adamw": lambda: torch.optim.AdamW([weight()], lr=0.3, betas=(0.9, 0.99)),
        "sgd": lambda: torch.optim.SGD([weight()], lr=0.3, momentum=0.9),
    }
    ours, theirs = kinds[kind](), kinds[kind]()
    ours.param_groups[0]["name"] = "new"
    schedule = build_schedule(ours, spec, epochs, STEPS_PER_EPOCH, steps)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        theirs, 0.3, steps, pct_start=pct_start, div_factor=div_factor, base_momentum=0.8, max_momentum=0.95
    )
    expected = cycle_of(theirs, reference, steps)
    found = cycle_of(ours, schedule, steps)
    assert [rate for rate, _ in found] == pytest.approx([rate for rate, _ in expected])
    assert [momentum for _, momentum in found] == pytest.approx([momentum for _, momentum in expected])
    if kind == "adamw":
        assert ours.param_groups[0]["betas"][1] == 0.99


def weight() -> torch.nn.Parameter:
    """One number that is to be learnt."""
    return torch.nn.Parameter(torch.zeros(1))


def test_one_cycle_without_momenta_leaves_the_momentum_alone() -> None:
    words = ["train.optim.policy=one_cycle", "train.optim.policy_params.moms=[]"]
    spec = tiny_spec(*words).train.optim
    optimizer = torch.optim.SGD([{"params": [weight()], "name": "new"}], lr=1.0, momentum=0.7)
    schedule = build_schedule(optimizer, spec, 4, 2, 8)
    assert {momentum for _, momentum in cycle_of(optimizer, schedule, 8)} == {0.7}
    with pytest.raises(SpecError, match=r"policy_params\.moms.*adafactor has no momentum"):
        tiny_spec("train.optim.policy=one_cycle", "train.optim.optim=adafactor")
    with pytest.raises(SpecError, match=r"policy_params\.moms: \[0\.9\] is not allowed"):
        tiny_spec("train.optim.policy_params.moms=[0.9]")


def test_the_schedule_s_state_is_plain_and_goes_on_in_the_midst_of_a_cycle() -> None:
    spec = tiny_spec("train.optim.policy=one_cycle", "train.num_epochs=4").train.optim

    def made() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.AdamW([{"params": [weight()], "name": "new"}], lr=1.0)
        return optimizer, build_schedule(optimizer, spec, 4, 2, 8)

    whole = cycle_of(*made(), 8)
    first, schedule = made()
    begun = cycle_of(first, schedule, 3)
    states = json.loads(json.dumps(schedule.state_dict()))
    second, again = made()
    again.load_state_dict(states)
    second.load_state_dict(first.state_dict())
    assert begun + cycle_of(second, again, 5) == whole
