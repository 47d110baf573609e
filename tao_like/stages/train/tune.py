"""A short training in between: of a network that another stage has at hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tao_like.config.blocks.common import CommonSpec, TrainSpec
from tao_like.contract.phase import Phase
from tao_like.contract.task import AnyTask
from tao_like.networks.strided_pointwise import safe_gradients
from tao_like.stages.train.data import TrainingData
from tao_like.stages.train.devices import choose_devices, start_processes
from tao_like.stages.train.loop import PhaseTraining
from tao_like.stages.train.origin import open_teacher
from tao_like.stages.train.report import Reporter
from tao_like.stages.train.state import State
from tao_like.stages.train.surroundings import own_settings, seed_everything
from tao_like.tracking import Run, StopRequest


def tune(task: AnyTask, model: nn.Module, spec: CommonSpec, run: Run, *, epochs: int, seed: int) -> None:
    """Trains a network in place for some epochs, by its last phase's train block; nothing is written.

    Schedule and warm-up are shortened in the same measure. It runs in one process.

    Args:
        task: at work on the spec.
        model: what is frozen stays so only if the spec freezes it.
        spec: the resolved spec.
        run: gets progress and a status line an epoch.
        epochs: passes over the training data.
        seed: of order and augmentation.
    """
    phase = shortened(task.phases()[-1], epochs, seed)
    train = replace(
        spec.train,
        num_gpus=min(spec.train.num_gpus, 1),
        gpu_ids=spec.train.gpu_ids[:1],
        num_nodes=1,
    )
    stop = StopRequest()
    with own_settings(train):
        seed_everything(seed)
        fabric = start_processes(train, choose_devices(train), stop)
        # The network stays in evaluation mode, as pruning has it: norm layers keep the statistics of the long
        # training, and the one that follows pruning measures new ones.
        phase.freeze(model)
        state = State()
        data = TrainingData(phase, model, fabric, run, tiles=None, validates=False)
        teacher = open_teacher(task, spec, phase.spec.distill)
        training = PhaseTraining(
            phase,
            model,
            fabric,
            data,
            run,
            losses=teacher.losses if teacher else phase.losses,
            state=state,
            reporter=Reporter(run, None, state, phase.spec, title="", telling=()),
            folder=None,
            description={},
            stop=stop,
            set_modes=lambda _: None,
        )
        with safe_gradients(model):
            training.fit()
        training.kept_model()
    model.to("cpu", memory_format=torch.contiguous_format).eval().requires_grad_(True)  # type: ignore[call-overload]


def shortened(phase: Phase[Any], epochs: int, seed: int) -> Phase[Any]:
    """The same phase with the train block of a short training."""
    spec: TrainSpec = phase.spec
    share = min(1.0, epochs / spec.num_epochs)
    short = copy.copy(phase)
    short.spec = replace(
        spec,
        num_epochs=epochs,
        seed=seed,
        optim=replace(spec.optim, warmup_epochs=spec.optim.warmup_epochs * share, head_epochs=0.0),
        compile=False,
        tensorboard=replace(spec.tensorboard, enabled=False),
    )
    return short
