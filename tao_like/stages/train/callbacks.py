"""What happens beside the training steps: moving average, progress, status, TensorBoard."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging
from torch import Tensor, nn
from typing_extensions import override

from tao_like.contract.capabilities import DrawsModel
from tao_like.plots.grids import picture_grid
from tao_like.stages.lib.scoring import whole_sample
from tao_like.stages.train.module import TrainingModule
from tao_like.stages.train.resume import Position
from tao_like.stages.train.sharding import whole
from tao_like.tracking import Progress, Run, TensorBoard
from tao_like.tracking.status import STATUS_FILE, read_lines


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and buffers; validated, checkpointed and shipped.

    The decay is warmed up as (1 + n) / (10 + n), the rule of TensorFlow's ExponentialMovingAverage, so
    that a run of some hundred steps is not dragged down by its first weights.
    """

    def __init__(self, decay: float) -> None:
        def average(means: list[Tensor], currents: list[Tensor], count: Tensor | int) -> None:
            # All tensors of one type at once: to read the count for each makes a GPU wait as often.
            steps = float(count)
            if means[0].is_floating_point():
                torch._foreach_lerp_(means, currents, 1 - min(decay, (1 + steps) / (10 + steps)))
            else:
                torch._foreach_copy_(means, currents)

        super().__init__(multi_avg_fn=average)
        self._is_shown = False

    @override
    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_shown = True

    @override
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_shown = False

    def put_back(self, module: pl.LightningModule) -> None:
        """Give the network its own weights back, where a validation that is broken off shows the average."""
        if self._is_shown:
            self._swap_models(module)
            self._is_shown = False

    def ship(self, module: pl.LightningModule) -> None:
        """Put the average into the network, for good; doing it twice is harmless."""
        self._copy_average_to_current(module)


class Reporter(Callback):
    """Progress bar, a line an epoch, and status.json.

    Attributes:
        figures: losses and metrics of the last epoch, and its number (from 1) as ``epoch``.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.figures: dict[str, float] = {}
        self._bar: Progress | None = None
        self._shown = ""
        self._validated = False
        self._began = 0.0
        self._first_step = 0

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.monotonic()
        self._first_step = trainer.global_step
        self._tell_untold_epoch(trainer)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not at the start of the epoch: a resumed training may begin in the midst of one.
        if self._bar is None:
            title = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
            self._bar = self.run.progress(title, int(trainer.num_training_batches) - batch_idx)
            self._bar.__enter__()

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self._bar is not None
        assert isinstance(pl_module, TrainingModule)
        self._bar.advance(loss=sum(pl_module.last_losses.values()))

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        self._close()
        # Lightning keeps the metrics of an earlier epoch where this one was not validated.
        known = trainer.callback_metrics if self._validated else {}
        self._validated = False
        figures = {name: float(value) for name, value in known.items()}
        figures["train_loss"] = pl_module.epoch_loss
        self._shown = ", ".join(f"{name} {value:.4f}" for name, value in _most_telling(figures, pl_module))
        self.figures = {"epoch": trainer.current_epoch + 1, **figures}

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = True

    def tell_epoch(self, trainer: pl.Trainer) -> None:
        """Say what the last epoch came to. Called once its checkpoint, if it has one, is on the disk."""
        done, total = trainer.global_step - self._first_step, int(trainer.estimated_stepping_batches)
        eta = (time.monotonic() - self._began) / max(done, 1) * max(total - trainer.global_step, 0)
        figures = dict(self.figures)
        epoch = int(figures.pop("epoch"))
        self.run.info(f"epoch {epoch}/{trainer.max_epochs}: {self._shown}")
        self.run.status(
            f"epoch {epoch} done",
            kpi=figures,
            epoch=epoch,
            max_epoch=trainer.max_epochs,
            step=trainer.global_step,
            max_step=total,
            eta=eta,
        )

    def _tell_untold_epoch(self, trainer: pl.Trainer) -> None:
        """Say what a killed process could not: it died between an epoch's checkpoint and its line."""
        if not self.figures:
            return
        told = [line["epoch"] for line in read_lines(self.run.folder / STATUS_FILE) if "epoch" in line]
        if told and told[-1] == self.figures["epoch"] - 1:
            self._shown = f"train_loss {self.figures['train_loss']:.4f}"
            self.tell_epoch(trainer)

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def _most_telling(figures: dict[str, float], module: TrainingModule) -> list[tuple[str, float]]:
    """Losses and the task's headline metric, for a line that fits a terminal."""
    wanted = ("train_loss", "val_loss", f"val_{module.phase.goal.metric}", module.spec.optim.monitor_name)
    return [(name, figures[name]) for name in dict.fromkeys(wanted) if name in figures]


class TensorBoardCallback(Callback):
    """Curves by step and epoch, pictures of predictions, histograms, the graph."""

    def __init__(self, board: TensorBoard, spec_text: str) -> None:
        self.board = board
        self.spec_text = spec_text

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if trainer.global_step:
            return
        self.board.text("spec", self.spec_text, verbatim=True)
        if pl_module.spec.tensorboard.graph:
            batch = pl_module.phase.data.collate([pl_module.train_data[0], pl_module.train_data[0]])
            self.board.graph(pl_module.network, batch.to(pl_module.device).input)

    @override
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        settings = pl_module.spec.tensorboard
        if batch_idx or not _is_due(trainer, settings.infrequent_logging_frequency):
            return
        if trainer.is_global_zero and (
            cards := pl_module.phase.predictions.draw_batch(batch)[: settings.num_images]
        ):
            self.board.image("train/inputs", picture_grid(cards), trainer.current_epoch)

    @override
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        assert isinstance(pl_module, TrainingModule)
        settings, step = pl_module.spec.tensorboard, trainer.global_step
        if step % settings.log_every_n_steps == 0:
            rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
            curves = {f"learning_rate/{name}": rate for name, rate in rates.items()}
            curves |= {f"train/{name}": value for name, value in pl_module.last_losses.items()}
            self.board.scalars(curves, step)
        if (
            settings.histograms
            and _is_due(trainer, settings.infrequent_logging_frequency)
            and _opens_epoch(trainer)
        ):
            for name, parameter in pl_module.network.named_parameters():
                if parameter.grad is not None:
                    self.board.histogram(f"gradients/{name}", whole(parameter.grad), trainer.current_epoch)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TrainingModule)
        if trainer.sanity_checking or pl_module.scores is None:
            return
        epoch, settings = trainer.current_epoch, pl_module.spec.tensorboard
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.board.scalars({name.replace("val_", "val/", 1): value for name, value in figures.items()}, epoch)
        if not _is_due(trainer, settings.infrequent_logging_frequency):
            return
        network = pl_module.whole_network()
        if trainer.is_global_zero:
            self._draw(pl_module, network, epoch)
            if settings.histograms:
                for name, parameter in network.named_parameters():
                    self.board.histogram(f"weights/{name}", parameter, epoch)

    def _draw(self, module: TrainingModule, network: nn.Module, epoch: int) -> None:
        assert module.scores is not None
        assert module.report is not None
        assert module.val_data is not None
        for name, picture in module.report.draw().items():
            self.board.image(f"val/{name}", picture, epoch)
        if (draws := module.task.capability(DrawsModel)) is not None:
            for name, picture in draws.draw_model(network).items():
                self.board.image(f"network/{name}", picture, epoch)
        cards = [
            module.phase.predictions.draw(whole_sample(module.task, module.val_data, number), prediction)
            for number, prediction in module.scores.worst(module.spec.tensorboard.num_images)
        ]
        if cards:
            self.board.image("val/predictions_wrong_first", picture_grid(cards), epoch)


def is_stale(position: Position, tag: str, step: int) -> bool:
    """Whether a point in TensorBoard's file is one that a training, resumed at a position, writes again."""
    section = tag.partition("/")[0]
    if section == "spec":
        return False
    if section in ("train", "learning_rate"):
        return step >= position.step
    if section == "gradients":
        # Written at the start of an epoch.
        return step >= position.epoch + (position.batch > 0)
    # By epoch, or written at the very end.
    return step >= position.epoch or section in ("val_kept", "_hparams_")


def _is_due(trainer: pl.Trainer, every: int) -> bool:
    last = trainer.current_epoch + 1 == trainer.max_epochs
    return every > 0 and (trainer.current_epoch % every == 0 or last)


def _opens_epoch(trainer: pl.Trainer) -> bool:
    return trainer.fit_loop.epoch_loop.batch_idx < trainer.accumulate_grad_batches
