"""What learns in a phase: the model, its optimizer and schedule, and the average of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tao_like.contract.phase import Phase
from tao_like.stages.train.average import MovingAverage
from tao_like.stages.train.checkpoints.checkpoint_file import WEIGHTS, read_best
from tao_like.stages.train.checkpoints.sharding import (
    divided,
    load_optimizer,
    take_from_first,
    whole,
    whole_state,
)
from tao_like.stages.train.setup.devices import channels_together
from tao_like.stages.train.setup.optim import (
    build_optimizer,
    build_schedule,
    fitting_warmup,
    scaled_rates,
    settings_of,
    take_settings,
)
from tao_like.stages.train.step import Losses, TrainingStep
from tao_like.tracking import is_main_process


class Learner:
    """The model with all that its steps change, on one device or over several processes.

    Args:
        phase: gives the train block and the groups of parameters.
        model: moved to the device and, with fsdp, divided over the processes; `kept_model` gives it back.
        fabric: device, precision and the other processes.
        losses: the phase's, or a teacher's.
        batches: of an epoch and process.
        batch_size: samples of a batch.
        sharded: each process holds a part of every weight.
    """

    def __init__(
        self,
        phase: Phase[Any],
        model: nn.Module,
        fabric: Fabric,
        losses: Losses,
        *,
        batches: int,
        batch_size: int,
        sharded: bool,
    ) -> None:
        self.spec, self.fabric = phase.spec, fabric
        self.model = channels_together(model)
        self.sharded = divided(self.model, fabric) if sharded else None
        if not sharded:
            fabric.to_device(self.model)
        if self.spec.compile:
            self.model.compile()
        self.step_module: nn.Module = TrainingStep(self.model, losses)
        if fabric.world_size > 1 and not sharded:
            self.step_module = fabric.strategy.setup_module(self.step_module)
        self.average = MovingAverage(self.model, self.spec.ema_decay) if self.spec.enable_ema else None
        per_epoch = -(-batches // self.spec.accumulate_grad_batches)
        self.total_steps = self.spec.num_epochs * per_epoch
        if self.spec.max_steps >= 0:
            self.total_steps = min(self.total_steps, self.spec.max_steps)
        samples = batch_size * fabric.world_size * self.spec.accumulate_grad_batches
        optim = fitting_warmup(scaled_rates(self.spec.optim, samples), self.spec.num_epochs)
        self.optimizer = build_optimizer(phase, self.model, optim)
        self.schedule = build_schedule(
            self.optimizer, optim, self.spec.num_epochs, per_epoch, self.total_steps
        )

    @property
    def rate(self) -> float:
        """The highest learning rate of the coming step."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    # --- a step ---

    def gradients_shared(self, steps: bool) -> AbstractContextManager[Any]:
        """Gradients go to the other processes with the last batch of a step alone."""
        if isinstance(self.step_module, DistributedDataParallel) and not steps:
            return self.step_module.no_sync()
        return nullcontext()

    def finish_gradients(self) -> Tensor | None:
        """Unscales and clips the gradients of a step; their norm before it, None where nothing clips them."""
        self.fabric.strategy.precision.unscale_gradients(self.optimizer)
        if not self.spec.clip_grad_norm:
            return None
        return whole(nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_grad_norm))

    def step(self) -> None:
        """A step of the optimizer, the schedule and the average."""
        self.fabric.strategy.optimizer_step(self.optimizer)
        self.optimizer.zero_grad()
        self.schedule.step()
        if self.average is not None:
            self.average.update()

    # --- weights ---

    def shown_model(self) -> nn.Module:
        """The weights that are validated and shipped: the average where there is one, all processes alike."""
        if self.sharded is not None:
            return self.sharded.gather()
        model = self.average.network if self.average else self.model
        if self.fabric.world_size > 1:
            # As ddp does before every step: batch norm has measured other means in each process.
            take_from_first(model.buffers(), self.fabric.device.type)
        return model

    def release_shown_model(self) -> None:
        """Frees the device of the whole copy of a divided model."""
        if self.sharded is not None:
            self.sharded.whole.cpu()

    def kept_model(self, best: Path | None) -> nn.Module:
        """The model with the weights that it ships with: those of the file ``best``, or as they are shown."""
        shown = self.shown_model()
        model = self.sharded.whole if self.sharded else self.model
        if best is not None:
            if is_main_process():
                model.load_state_dict(read_best(best))
            if self.fabric.world_size > 1:
                take_from_first(model.state_dict().values(), self.fabric.device.type)
        elif shown is not model:
            model.load_state_dict(shown.state_dict())
        return model

    # --- checkpoints ---

    def state(self) -> dict[str, Any]:
        """For a checkpoint. All processes must call it."""
        return {
            WEIGHTS: whole_state(self.model.state_dict()),
            "optimizer": whole_state(self.optimizer.state_dict()),
            "schedule": self.schedule.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "average": self.average.state() if self.average else None,
        }

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        if self.sharded is not None:
            self.sharded.load(checkpoint[WEIGHTS])
        else:
            self.model.load_state_dict(checkpoint[WEIGHTS])
        rates = settings_of(self.optimizer, self.schedule)
        load_optimizer(self.optimizer, checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        if self.spec.changes_on_resume:
            take_settings(self.optimizer, self.schedule, rates)
        self.fabric.strategy.precision.load_state_dict(checkpoint["precision"])
        if self.average is not None:
            self.average.restore(checkpoint["average"])
