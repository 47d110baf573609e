"""A short training in between: of a network that another stage has at hand."""

from __future__ import annotations

from dataclasses import replace

import pytorch_lightning as pl
import torch
from torch import nn
from typing_extensions import override

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import AnyTask
from tao_like.networks.strided_pointwise import safe_gradients
from tao_like.stages.lib.scoring import last_phase
from tao_like.stages.train.callbacks import MovingAverage, Reporter
from tao_like.stages.train.memory import keep_freed_memory
from tao_like.stages.train.stage import build_module, build_trainer
from tao_like.tracking import Run


class _Teller(pl.Callback):
    """Says what an epoch came to as soon as it is over: there is no checkpoint to wait for."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.reporter.tell_epoch(trainer)


def tune(task: AnyTask, network: nn.Module, spec: CommonSpec, run: Run, *, epochs: int, seed: int) -> None:
    """Trains a network in place for some epochs, by the spec's train block; nothing is written.

    Schedule and warm-up are shortened in the same measure. It runs in one process.

    Args:
        task: at work on the spec.
        network: what is frozen stays so only if the spec freezes it.
        spec: the resolved spec.
        run: gets progress and a status line an epoch.
        epochs: passes over the training data.
        seed: of order and augmentation.
    """
    keep_freed_memory()
    train = spec.train
    share = min(1.0, epochs / train.num_epochs)
    optim = replace(train.optim, warmup_epochs=train.optim.warmup_epochs * share, head_epochs=0.0)
    short = replace(
        train,
        num_epochs=epochs,
        seed=seed,
        optim=optim,
        num_gpus=min(train.num_gpus, 1),
        gpu_ids=train.gpu_ids[:1],
        num_nodes=1,
        compile=False,
        resume_training_checkpoint_path=None,
        tensorboard=replace(train.tensorboard, enabled=False),
    )
    shortened = replace(spec, train=short)
    pl.seed_everything(seed, verbose=False)
    # The network stays in evaluation mode, as pruning has it: norm layers keep the statistics of the long
    # training, and the one that follows pruning measures new ones.
    last_phase(task).freeze(network)
    module = build_module(task, network, shortened, run)
    module.val_data = module.scores = None
    reporter = Reporter(run)
    callbacks: list[pl.Callback] = [MovingAverage(short.ema_decay)] if short.enable_ema else []
    trainer = build_trainer(shortened, run, [*callbacks, reporter, _Teller(reporter)])
    try:
        with safe_gradients(network):
            trainer.fit(module)
    except SystemExit as error:
        # Lightning turns Ctrl-C into exit code 1.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    network.to("cpu", memory_format=torch.contiguous_format).eval().requires_grad_(True)  # type: ignore[call-overload]
