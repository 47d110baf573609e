"""A short training in between: of a network that another stage has at hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tao_like.config.blocks.common import CommonSpec, TrainSpec
from tao_like.contract.phase import Phase
from tao_like.contract.task import AnyTask
from tao_like.networks.strided_pointwise import safe_gradients
from tao_like.stages.train.stage import open_phase, prepare
from tao_like.tracking import Run


def tune(
    task: AnyTask,
    network: nn.Module,
    spec: CommonSpec,
    run: Run,
    *,
    phases: Sequence[Phase[Any]],
    epochs: int,
    seed: int,
) -> None:
    """Trains a network in place for some epochs, by its phases' train blocks; nothing is written.

    Schedule and warm-up are shortened in the same measure. It runs in one process.

    Args:
        task: at work on the spec.
        network: what is frozen stays so only if the spec freezes it.
        spec: the resolved spec.
        run: gets progress and a status line an epoch.
        phases: of the task, in order.
        epochs: passes over the training data in each.
        seed: of order and augmentation.
    """
    train = replace(
        spec.train,
        num_gpus=min(spec.train.num_gpus, 1),
        gpu_ids=spec.train.gpu_ids[:1],
        num_nodes=1,
        seed=seed,
    )
    work = prepare(task, replace(spec, train=train), run, network=network)
    # The network stays in evaluation mode, as pruning has it: norm layers keep the statistics of the long
    # training, and the one that follows pruning measures new ones.
    for phase in phases:
        training = open_phase(work, shortened(phase, epochs, seed), None, tunes=True)
        with safe_gradients(network):
            training.fit()
        training.kept_model()
    network.to("cpu", memory_format=torch.contiguous_format).eval().requires_grad_(True)  # type: ignore[call-overload]


def shortened(phase: Phase[Any], epochs: int, seed: int) -> Phase[Any]:
    """The same phase with the train block of a short training."""
    spec: TrainSpec = phase.spec
    fraction = min(1.0, epochs / spec.num_epochs)
    short = copy.copy(phase)
    short.spec = replace(
        spec,
        num_epochs=epochs,
        seed=seed,
        optim=replace(spec.optim, warmup_epochs=spec.optim.warmup_epochs * fraction, head_epochs=0.0),
        compile=False,
        tensorboard=replace(spec.tensorboard, enabled=False),
    )
    return short
