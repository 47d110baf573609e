"""Optimizer and learning-rate schedule, for every task."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import timm.optim
import torch
from torch import Tensor, nn
from typing_extensions import override

from tao_like.config.blocks.optim import OptimSpec, PolicyParamsSpec
from tao_like.contract.phase import Phase
from tao_like.errors import SpecError

CYCLE_END = 1e4
"""First rate of `one_cycle` over the last one, in fastai, torch and OpenPCDet."""


def build_optimizer(phase: Phase[Any], model: nn.Module, spec: OptimSpec) -> torch.optim.Optimizer:
    """The optimizer over what is not frozen.

    Each group carries its name, ``backbone`` or ``new``, and its highest rate (``lr``).

    Raises:
        SpecError: everything is frozen; or the rate is to fall by layers, which this network does not tell.
    """
    groups = parameter_groups(phase, model, spec)
    if not groups:
        raise SpecError("everything is frozen, so there is nothing to train; unfreeze the head")
    options: dict[str, Any] = {}
    name = spec.optim
    if name == "sgd" and not spec.momentum:
        # timm's `sgd` is Nesterov's, which needs some momentum; its `momentum` is torch's plain SGD.
        name = "momentum"
    if spec.optim in ("sgd", "rmsprop"):
        options["momentum"] = spec.momentum
    elif spec.optim != "adafactor":
        options["betas"] = tuple(spec.betas)
    return timm.optim.create_optimizer_v2(  # type: ignore[attr-defined]
        groups, opt=name, lr=spec.lr, weight_decay=spec.weight_decay, **options
    )


def parameter_groups(phase: Phase[Any], model: nn.Module, spec: OptimSpec) -> list[dict[str, Any]]:
    """timm's groups with and without weight decay, divided into backbone and new parts, and by layers."""
    excluded = _without_decay(model) | {f"*{glob.escape(name)}*" for name in spec.skip_names}
    by_decay = timm.optim.param_groups_weight_decay(  # type: ignore[attr-defined]
        model, spec.weight_decay, no_weight_decay_list=excluded
    )
    backbone = {
        id(parameter) for module in phase.backbone(model) for parameter in module.parameters(recurse=False)
    }
    rates = {"backbone": spec.backbone_rate, "new": spec.lr}
    scales = {} if spec.layer_decay is None else _layer_scales(model, spec.layer_decay)
    divided: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for group in by_decay:
        for parameter in group["params"]:
            name = "backbone" if id(parameter) in backbone else "new"
            key = (name, rates[name] * scales.get(id(parameter), 1.0), group["weight_decay"])
            divided.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "name": name, "lr": rate, "weight_decay": decay}
        for (name, rate, decay), parameters in divided.items()
    ]


def _without_decay(model: nn.Module) -> set[str]:
    """What timm's networks, wherever they stand in the model, want no weight decay on."""
    return {
        f"{name}.{parameter}" if name else parameter
        for name, module in model.named_modules()
        if callable(getattr(module, "no_weight_decay", None))
        for parameter in module.no_weight_decay()
    }


def _layer_scales(model: nn.Module, decay: float) -> dict[int, float]:
    """The fraction of the rate of each parameter of timm's networks in the model, by the parameter's id."""
    scales: dict[int, float] = {}
    for module in model.modules():
        if callable(getattr(module, "group_matcher", None)):
            groups = timm.optim.param_groups_layer_decay(  # type: ignore[attr-defined]
                module, layer_decay=decay
            )
            scales |= {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    if not scales:
        raise SpecError(
            "train.optim.layer_decay: this network does not tell its layers in their order, as timm's do; "
            "leave the key out"
        )
    return scales


def scaled_rates(spec: OptimSpec, samples: int) -> OptimSpec:
    """The rates for a step of so many samples, where the spec says for how many its own are meant.

    In proportion: the linear scaling rule (Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.1;
    YOLOX gives its rate as 0.01 for 64 images).

    Args:
        spec: rates and the samples that they are meant for.
        samples: of one optimizer step: over all processes and accumulated batches.
    """
    if spec.lr_batch_size is None:
        return spec
    factor = samples / spec.lr_batch_size
    backbone = None if spec.lr_backbone is None else spec.lr_backbone * factor
    return replace(spec, lr=spec.lr * factor, lr_backbone=backbone)


def fitting_warmup(spec: OptimSpec, epochs: int) -> OptimSpec:
    """The spec with a warm-up that leaves half of the training, where its own would fill all of it."""
    room = epochs - spec.head_epochs
    if spec.warmup_epochs < room or spec.policy == "one_cycle":
        return spec
    return replace(spec, warmup_epochs=room / 2)


def build_schedule(
    optimizer: torch.optim.Optimizer, spec: OptimSpec, epochs: int, steps_per_epoch: int, total_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate as a fraction of each group's highest rate, for every optimizer step.

    The head alone learns in the first ``head_epochs``; the backbone's own warm-up begins after them.
    """
    head_steps = round(spec.head_epochs * steps_per_epoch)

    def factor(name: str) -> Callable[[int], float]:
        wait = head_steps if name == "backbone" else 0

        def at(step: int) -> float:
            if step < wait:
                return 0.0
            return rate_factor(spec, step - wait, total_steps - wait, steps_per_epoch, step)

        return at

    factors = [factor(group["name"]) for group in optimizer.param_groups]
    if spec.policy == "one_cycle" and spec.policy_params.moms:
        return MomentumSchedule(optimizer, factors, spec.policy_params, total_steps)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, factors)


def settings_of(
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR
) -> tuple[list[dict[str, Any]], list[float]]:
    """What a spec has said: the numbers of each parameter group, and the highest rates."""
    groups = [
        {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]
    return groups, [float(rate) for rate in schedule.base_lrs]


def take_settings(
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    settings: tuple[list[dict[str, Any]], list[float]],
) -> None:
    """Have an optimizer that was restored go on with other numbers: its moments and its step stay."""
    groups, rates = settings
    schedule.base_lrs = list(rates)
    for group, given, rate, factor in zip(
        optimizer.param_groups, groups, rates, schedule.lr_lambdas, strict=True
    ):
        group.update(given)
        group["lr"] = rate * factor(schedule.last_epoch)


class MomentumSchedule(torch.optim.lr_scheduler.LambdaLR):
    """Rates as fractions of the highest, and the momentum that goes the other way in `one_cycle`.

    Args:
        optimizer: with a momentum or betas.
        factors: of each group's highest rate at a step.
        params: of the policy.
        total_steps: of the training.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        factors: list[Callable[[int], float]],
        params: PolicyParamsSpec,
        total_steps: int,
    ) -> None:
        self._params = params
        self._total_steps = total_steps
        super().__init__(optimizer, factors)

    @override
    def get_lr(self) -> list[float | Tensor]:
        high, low = self._params.moms
        momentum = cycled((high, low, high), self._params.pct_start, self.last_epoch, self._total_steps)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum
        return super().get_lr()

    @override
    def state_dict(self) -> dict[str, Any]:
        # The spec says the rest, and a resumed training may be longer.
        return {
            name: value
            for name, value in super().state_dict().items()
            if name not in ("_params", "_total_steps")
        }


def cycled(values: tuple[float, float, float], rising: float, step: int, total_steps: int) -> float:
    """A value on its way from the first to the second and on to the third, along half cosines.

    The one-cycle policy (Smith and Topin 2017), in the form of fastai and of torch's OneCycleLR.

    Args:
        values: at the first step, at the turn and at the last step.
        rising: fraction of the steps before the turn.
        step: from 0.
        total_steps: of the training.
    """
    first, turn, last = values
    top = rising * total_steps - 1
    if step < top:
        start, end, progress = first, turn, step / top
    else:
        start, end, progress = turn, last, min(1.0, (step - top) / (total_steps - 1 - top))
    return end + (start - end) / 2.0 * (math.cos(math.pi * progress) + 1)


def rate_factor(
    spec: OptimSpec, step: int, total_steps: int, steps_per_epoch: int, absolute_step: int
) -> float:
    """The fraction of the highest rate at a step.

    Args:
        spec: policy and warm-up.
        step: steps since this group began to learn.
        total_steps: steps that this group learns in all.
        steps_per_epoch: optimizer steps of an epoch.
        absolute_step: steps since the training began; drops by epoch count from there.
    """
    policy, params = spec.policy, spec.policy_params
    if policy == "one_cycle":
        first = 1.0 / params.div_factor
        return cycled((first, 1.0, first / CYCLE_END), params.pct_start, step, total_steps)
    warmup = round(spec.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    epoch = absolute_step / steps_per_epoch
    if policy == "constant":
        return 1.0
    if policy == "step":
        return float(params.gamma ** (epoch // params.step_size))
    if policy == "multistep":
        return float(params.gamma ** sum(epoch >= milestone for milestone in params.milestones))
    progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    fall = 1.0 - progress if policy == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return params.min_lr_ratio + (1.0 - params.min_lr_ratio) * fall
