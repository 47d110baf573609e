"""One phase of a training in one loop: data, loss, step, check, report, checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Metrics, Report
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.stages.lib.folders import LAST_CHECKPOINT, resume_override
from tao_like.stages.lib.loading import seed_step
from tao_like.stages.train.checkpoints.checkpoint_file import (
    FORMAT,
    FORMAT_VERSION,
    KEY,
    WEIGHTS,
    write_checkpoint,
)
from tao_like.stages.train.checkpoints.state import State
from tao_like.stages.train.learner import Learner
from tao_like.stages.train.reporting.report import Reporter
from tao_like.stages.train.reporting.watch import Watch
from tao_like.stages.train.reporting.writer import TensorBoardWriter
from tao_like.stages.train.setup.checks import monitored
from tao_like.stages.train.setup.data import TrainingData
from tao_like.stages.train.step import Losses
from tao_like.stages.train.validation import validate
from tao_like.tracking import Run, StopRequest, is_main_process

BEST = "best.ckpt"


class PhaseTraining:
    """A phase at work on a model.

    Args:
        phase: gives losses, metrics and the train block.
        model: moved to the device and, with fsdp, divided over the processes; `kept_model` gives it back.
        fabric: device, precision and the other processes.
        data: the batches.
        run: takes messages.
        losses: the phase's, or a teacher's.
        state: where it begins.
        folder: of its checkpoints; None: none are written.
        description: what a checkpoint says of its training, beside the state.
        stop: signals that ask for an end.
        set_modes: puts the parts that learn into training mode, and all else into evaluation mode.
        block: the key of its train block in the spec.
        sharded: each process holds a part of every weight.
    """

    def __init__(
        self,
        phase: Phase[Any],
        model: nn.Module,
        fabric: Fabric,
        data: TrainingData,
        run: Run,
        *,
        losses: Losses,
        state: State,
        reporter: Reporter,
        folder: Path | None,
        description: dict[str, Any],
        stop: StopRequest,
        set_modes: Callable[[nn.Module], None],
        block: str = "train",
        writer: TensorBoardWriter | None = None,
        sharded: bool = False,
    ) -> None:
        self.phase, self.spec, self.fabric, self.data, self.run = phase, phase.spec, fabric, data, run
        self.state, self.reporter, self.writer, self.stop = state, reporter, writer, stop
        self.folder, self.description = folder, description
        self.set_modes, self.block = set_modes, block
        self.learner = Learner(
            phase, model, fabric, losses, batches=len(data), batch_size=data.batch_size, sharded=sharded
        )
        self.model = self.learner.model
        self.monitor = monitored(phase)
        self._agreed: int | None = None
        self._validation: dict[str, float] = {}
        self.watch = Watch(
            state,
            fabric,
            data.train.key,
            folder,
            f"Lower {block}.optim.lr, to {self.spec.optim.lr / 10:.1g} say, or let it rise slowly "
            f"({block}.optim.warmup_epochs=1), or bound the gradient ({block}.clip_grad_norm=1)",
            skips_infinite=self.spec.precision == "fp16",
        )

    # --- the loop ---

    def fit(self) -> None:
        """Trains to the end. Raises Diverged, and what a signal raises that asks for an end."""
        state = self.state
        self.stop.arm()
        try:
            self._begin()
            if self.phase.scores_start and state.step == 0 and self.data.val is not None:
                self.score_start()
            while state.epoch < self._last_epoch and not self._is_over:
                self.train_epoch()
                if state.batch == len(self.data) and self._validation_is_due:
                    self.validate_epoch()
                self._end_epoch()
            self.reporter.curves()
        finally:
            self.reporter.close_bar()
            self.stop.disarm()

    def train_epoch(self) -> None:
        """The batches of the epoch that are left."""
        state, spec = self.state, self.spec
        self.set_modes(self.model)
        for batch in self.data.epoch(state.epoch, state.batch):
            if self.writer is not None:
                self.writer.batch(batch)
            seed_step(spec.seed, state.epoch, state.batch, self.fabric.global_rank, self.fabric.device)
            is_last = state.batch + 1 == len(self.data)
            steps = is_last or (state.batch + 1) % spec.accumulate_grad_batches == 0
            with self.learner.gradients_shared(steps):
                losses = self.training_step(batch)
                loss = torch.stack(list(losses.values())).sum()
                self.fabric.backward(loss / spec.accumulate_grad_batches)
            self.watch.add_loss(loss, batch.indices, self.learner.rate)
            state.batch += 1
            if steps:
                self._optimizer_step(losses)
            self.reporter.batch(self.watch.last_loss)
            if steps and not is_last:
                self._checkpoint_between_batches()
            if state.step >= self.learner.total_steps:
                break
        self.watch.look()

    def training_step(self, batch: Batch[Any]) -> dict[str, Tensor]:
        """The terms of the loss of a batch."""
        self.phase.progress = self.state.step / max(self.learner.total_steps, 1)
        with self.fabric.autocast():
            losses: dict[str, Tensor] = self.learner.step_module(batch)
        return losses

    def _optimizer_step(self, losses: dict[str, Tensor]) -> None:
        if (norm := self.learner.finish_gradients()) is not None:
            self.watch.add_norm(norm)
        if self.watch.is_due:
            self._agreed = self.watch.look(self.stop.number)
        self.reporter.step(self.learner.optimizer, losses)
        if self.writer is not None:
            self.writer.step(self.model.named_parameters())
        self.learner.step()
        self.state.step += 1

    def score_start(self) -> None:
        """Scores the weights that the training begins with; the first line of the metrics."""
        values, _, _ = self.validate(self.learner.shown_model(), self.fabric.autocast())
        self.learner.release_shown_model()
        self.state.history.append({"epoch": 0, **values})
        self.reporter.started(values, f"val_{self.phase.goal.metric}")

    def validate_epoch(self) -> None:
        """Scores the weights as they are now, and keeps them where they are the best so far."""
        state, goal = self.state, self.monitor
        state.validated = False
        if self._is_asked():
            self._leave()
        model = self.learner.shown_model()
        values, report, metrics = self.validate(model, self.fabric.autocast(), self._leave_if_asked)
        self.watch.check_validation(values, goal.metric, self.learner.rate)
        averaged = self.learner.average is not None
        self.reporter.validated(values, f"val_{self.phase.goal.metric}", averaged=averaged)
        for note in report.notes:
            self.run.warning(note)
        if self.writer is not None:
            self.writer.validation(report, metrics, model, self.data.val)
        self.learner.release_shown_model()
        self._validation = values
        if self.spec.keep == "best" and state.improves(goal, values[goal.metric]):
            self._write({WEIGHTS: self.learner.shown_model().state_dict()}, BEST)
        if self.spec.early_stopping.enabled:
            state.ended = state.stops_early(goal, values[goal.metric], self.spec.early_stopping)

    def validate(
        self,
        model: nn.Module,
        precision: AbstractContextManager[Any],
        after_batch: Callable[[], None] = lambda: None,
    ) -> tuple[dict[str, float], Report, Metrics]:
        """Loss and metrics of all validation data; see `validate`."""
        model.to(self.fabric.device).eval()
        self.phase.prepare_validation(model)

        def step(batch: Batch[Any]) -> tuple[dict[str, Tensor], Outputs]:
            with torch.inference_mode(), precision:
                return self.validation_step(model, batch)

        return validate(self.phase, self.data, step, after_batch)

    def validation_step(self, model: nn.Module, batch: Batch[Any]) -> tuple[dict[str, Tensor], Outputs]:
        """Losses and outputs of a batch."""
        return self.phase.validate(model, batch)

    def _end_epoch(self) -> None:
        """Counts the epoch, writes its checkpoint, and then says what it came to."""
        state, spec = self.state, self.spec
        self.reporter.close_bar()
        number, is_whole = state.epoch + 1, state.batch == len(self.data)
        state.add_epoch({"epoch": number, "train_loss": state.epoch_loss, **self._validation})
        self._validation = {}
        due = spec.checkpoint_interval_unit == "epoch" and number % spec.checkpoint_interval == 0
        due = due or (is_whole and self._step_is_due)
        state.validated = True
        if is_whole:  # else `train.max_steps` has cut it
            state.epoch, state.batch, state.loss_sum = number, 0, 0.0
        # Before the checkpoint, since points of earlier steps are not drawn again from there on.
        self.reporter.metrics()
        asked = self._is_asked()
        if asked or due:
            self.save()
        self.reporter.epoch()
        if asked:
            self._end_by_signal()

    # --- where it stands ---

    @property
    def _last_epoch(self) -> int:
        """Epochs that are trained now; the schedule is that of all."""
        stop = self.spec.stop_epoch
        return min(stop, self.spec.num_epochs) if stop > 0 else self.spec.num_epochs

    @property
    def _is_over(self) -> bool:
        return self.state.ended or (self.state.step >= self.learner.total_steps and self.state.validated)

    @property
    def _validation_is_due(self) -> bool:
        return self.data.val is not None and (self.state.epoch + 1) % self.spec.validation_interval == 0

    @property
    def _step_is_due(self) -> bool:
        spec = self.spec
        return spec.checkpoint_interval_unit == "step" and self.state.step % spec.checkpoint_interval == 0

    # --- signals and checkpoints ---

    def _is_asked(self) -> bool:
        """Whether a signal asks for an end. All processes must call it, and come to the same result."""
        self._agreed = self.watch.look(self.stop.number)
        return self._agreed is not None

    def _leave(self) -> None:
        """Ends as the signal wants it that all processes know of."""
        self.save()
        self._end_by_signal()

    def _end_by_signal(self) -> None:
        self.stop.number = self.stop.number or self._agreed
        raise self.stop.error()

    def _leave_if_asked(self) -> None:
        # Several processes may have unequal numbers of batches here, so they cannot agree.
        if self.fabric.world_size == 1 and self.stop.number is not None:
            self._leave()

    def _checkpoint_between_batches(self) -> None:
        # Several processes end by what they know from their last look together.
        asked = self._agreed if self.fabric.world_size > 1 else self.stop.number
        if asked is not None:
            self._leave()
        if self._step_is_due:
            self.save()

    def save(self) -> None:
        """Writes the checkpoint to go on from. All processes must call it."""
        self.watch.look()
        if self.folder is None:
            return
        self.watch.check_weights(self.model, self.learner.rate)
        if self.writer is not None:
            # What the checkpoint has seen must not be lost when the process is killed after it.
            self.writer.events.flush()
        record = {
            **self.description,
            **self.state.record(),
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "batch_size": self.data.batch_size,
            "processes": self.fabric.world_size,
        }
        self._write({**self.learner.state(), KEY: record}, LAST_CHECKPOINT)
        self.advise(self.folder / LAST_CHECKPOINT)

    def kept_model(self) -> nn.Module:
        """The model with the weights that it ships with: of the best validation, or the last."""
        best = None
        if self.folder is not None and self.spec.keep == "best" and self.state.best is not None:
            best = self.folder / BEST
        model = self.learner.kept_model(best)
        self.watch.check_weights(model, self.learner.rate)
        return model

    def advise(self, path: Path) -> None:
        """What to tell the user should the training be broken off."""
        now = f"{self.block}.max_steps={self.state.step}"
        self.run.advise(
            f"to go on from the last checkpoint, add {resume_override(path)} (with {now} too, the bundle is "
            "written at once)"
        )

    def _write(self, content: dict[str, Any], name: str) -> None:
        if self.folder is not None and is_main_process():
            write_checkpoint(content, self.folder / name)

    def _begin(self) -> None:
        total_steps, device = self.learner.total_steps, str(self.fabric.device)
        self.reporter.begin(len(self.data), self.data.batch_size, total_steps, device)
        if self.writer is not None:
            self.writer.begin(self.model, self.data, resumed=self.state.step > 0)
