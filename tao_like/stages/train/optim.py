"""Optimiser and learning-rate schedule, for every task."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import timm.optim
import torch
from torch import nn

from tao_like.errors import SpecError
from tao_like.spec.common import OptimSpec
from tao_like.tasks.base import Task


def build_optimiser(task: Task[Any], network: nn.Module, spec: OptimSpec) -> torch.optim.Optimizer:
    """The optimiser over what is not frozen: backbone and new parts, with and without weight decay.

    Each group carries its name and its highest rate (``lr``).

    Raises:
        SpecError: everything is frozen.
    """
    modules = task.parameter_groups(network).get("backbone", [])
    backbone = {id(parameter) for module in modules for parameter in module.parameters(recurse=False)}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not any(skip in name for skip in spec.skip_names)
        groups.setdefault(("backbone" if id(parameter) in backbone else "new", decays), []).append(parameter)
    if not groups:
        raise SpecError("everything is frozen, so there is nothing to train; unfreeze the head")
    rates = {"backbone": spec.lr if spec.lr_backbone is None else spec.lr_backbone, "new": spec.lr}
    parameter_groups = [
        {"params": parameters, "name": name, "lr": rates[name], "weight_decay": spec.weight_decay * decays}
        for (name, decays), parameters in groups.items()
    ]
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
        parameter_groups, opt=name, lr=spec.lr, weight_decay=spec.weight_decay, **options
    )


def scaled_rates(spec: OptimSpec, samples: int) -> OptimSpec:
    """The rates for a step of so many samples, where the spec says for how many its own are meant.

    In proportion: the linear scaling rule (Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.1;
    YOLOX gives its rate as 0.01 for 64 pictures).

    Args:
        spec: rates and the samples that they are meant for.
        samples: of one optimiser step: over all processes and accumulated batches.
    """
    if spec.lr_batch_size is None:
        return spec
    factor = samples / spec.lr_batch_size
    backbone = None if spec.lr_backbone is None else spec.lr_backbone * factor
    return replace(spec, lr=spec.lr * factor, lr_backbone=backbone)


def build_schedule(
    optimiser: torch.optim.Optimizer, spec: OptimSpec, epochs: int, steps_per_epoch: int, total_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate as a share of each group's highest rate, for every optimiser step.

    The head alone learns in the first ``head_epochs``; the backbone's own warm-up begins after them.
    """
    head_steps = round(spec.head_epochs * steps_per_epoch)

    def share(name: str) -> Callable[[int], float]:
        wait = head_steps if name == "backbone" else 0

        def at(step: int) -> float:
            if step < wait:
                return 0.0
            return rate_share(spec, step - wait, total_steps - wait, steps_per_epoch, step)

        return at

    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, [share(group["name"]) for group in optimiser.param_groups]
    )


def rate_share(
    spec: OptimSpec, step: int, total_steps: int, steps_per_epoch: int, absolute_step: int
) -> float:
    """The share of the highest rate at a step.

    Args:
        spec: policy and warm-up.
        step: steps since this group began to learn.
        total_steps: steps that this group learns in all.
        steps_per_epoch: optimiser steps of an epoch.
        absolute_step: steps since the training began; drops by epoch count from there.
    """
    warmup = round(spec.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    policy, params = spec.policy, spec.policy_params
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
