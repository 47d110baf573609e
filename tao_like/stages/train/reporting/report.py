"""What is said of a training while it goes on: progress bar, a line an epoch, status.json, curves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch.optim import Optimizer

from tao_like.config.blocks.common import TrainSpec
from tao_like.plots.curves import write_curves
from tao_like.stages.results import counted
from tao_like.stages.train.checkpoints.state import State
from tao_like.tracking import Progress, Run, atomic_path, is_main_process
from tao_like.tracking.status import STATUS_FILE, duration_text, read_lines

DRAWING_PAUSE = 50
"""Between two drawings of the curves lies so many times the time that one takes."""
FIRST_DRAWING = 0.4
"""Seconds that are taken for the first one's: it loads matplotlib, and would be a tenth of a short epoch."""


class Reporter:
    """Tells of a phase.

    Args:
        run: takes the words.
        folder: gets metrics.csv and curves.png; None: nothing is written.
        state: of the phase.
        spec: its train block.
        title: its name, where there are several.
        telling: the metrics that a line shows beside the losses.
    """

    def __init__(
        self,
        run: Run,
        folder: Path | None,
        state: State,
        spec: TrainSpec,
        *,
        title: str,
        telling: Sequence[str],
    ) -> None:
        self.run = run
        self.folder = folder
        self.state = state
        self.spec = spec
        self._title = f"{title}, " if title else ""
        self._telling = ("train_loss", "val_loss", *telling)
        self._bar: Progress | None = None
        self._drawn, self._drawing = time.monotonic(), FIRST_DRAWING

    def begin(self, batches: int, batch_size: int, total_steps: int, device: str) -> None:
        """Says what begins, before a first step that may take long."""
        self._began, self._first_step, self._total_steps = time.monotonic(), self.state.step, total_steps
        self._batches = batches
        if self.state.step < total_steps and not self.state.ended:
            epochs = counted(self.spec.num_epochs, "epoch")
            self.run.info(
                f"{self._title}training on {device}: {epochs} of {batches} x {batch_size} samples; the first "
                "step takes longest"
            )
        self._tell_untold_epoch()

    def started(self, values: Mapping[str, float], goal: str) -> None:
        """Says what the weights can do that the training begins with."""
        shown = ", ".join(f"{name} {values[name]:.4f}" for name in ("val_loss", goal) if name in values)
        self.run.info(f"{self._title}before the first step: {shown}")
        self.run.status(f"{self._title}before the first step", kpi=dict(values))

    def batch(self, loss: float) -> None:
        """Moves the bar by a batch, with the last loss and the time that the whole training still takes."""
        if self._bar is None:
            # Not at the start of the epoch: a resumed training may begin in the midst of one.
            title = f"{self._title}epoch {self.state.epoch + 1} of {self.spec.num_epochs}"
            self._bar = self.run.progress(title, self._batches - self.state.batch + 1)
            self._bar.__enter__()
        to_go = self._seconds_to_go()
        self._bar.advance(loss=loss, whole_training="" if to_go is None else f"{duration_text(to_go)} to go")

    def validated(self, values: Mapping[str, float], goal: str, *, averaged: bool) -> None:
        """Says of the first epoch why the metric may be zero although the loss falls."""
        if averaged and values.get(goal) == 0.0 and not self.state.history:
            self.run.info(
                f"{goal} is 0 so far: what is validated is the moving average of the weights "
                "(train.enable_ema), which lags behind them by a tenth of the steps, and norm layers lag too"
            )

    def close_bar(self) -> None:
        """Ends the epoch's bar."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def step(self, optimizer: Optimizer, losses: Mapping[str, Tensor]) -> None:
        """Tells rates and losses to who listens, before every so-manieth step of the optimizer."""
        if self.folder is None or self.state.step % self.spec.tensorboard.log_every_n_steps:
            return
        values: dict[str, float] = {}
        for group in optimizer.param_groups:
            name = f"learning_rate/{group['name']}"
            values[name] = max(values.get(name, 0.0), float(group["lr"]))
        values |= {f"train/{name}": float(value.detach()) for name, value in losses.items()}
        self.run.metric(values, step=self.state.step)

    def metrics(self) -> None:
        """Tells what the last epoch came to, as values for curves."""
        number = int(self.state.history[-1]["epoch"])
        self.run.metric(self.state.last_epoch, step=self.state.step, epoch=number)

    def epoch(self) -> None:
        """Says what the last epoch came to. Called once its checkpoint, if it has one, is on the disk."""
        values = self.state.last_epoch
        number = int(self.state.history[-1]["epoch"])
        shown = ", ".join(
            f"{name} {values[name]:.4f}" for name in dict.fromkeys(self._telling) if name in values
        )
        self.run.info(f"{self._title}epoch {number}/{self.spec.num_epochs}: {shown}")
        self.run.status(
            f"{self._title}epoch {number} done",
            kpi=values,
            told=True,
            epoch=number,
            max_epoch=self.spec.num_epochs,
            step=self.state.step,
            max_step=self._total_steps,
            eta=self._seconds_to_go() or 0.0,
        )
        self.curves(at_once=False)

    def curves(self, *, at_once: bool = True) -> None:
        """Writes metrics.csv and curves.png; not at once: where drawing takes up little of the time."""
        if self.folder is None or not is_main_process():
            return
        began = time.monotonic()
        if at_once or began - self._drawn >= DRAWING_PAUSE * self._drawing:
            write_curves(self.folder, self.state.history, atomic_path)
            self._drawn = time.monotonic()
            self._drawing = self._drawn - began

    def _seconds_to_go(self) -> float | None:
        """Of all steps that are left; None before the first."""
        done = self.state.step - self._first_step
        if not done:
            return None
        return (time.monotonic() - self._began) / done * max(self._total_steps - self.state.step, 0)

    def _tell_untold_epoch(self) -> None:
        """Says what a killed process could not: it died between an epoch's checkpoint and its line."""
        if not self.state.history:
            return
        told = [line["epoch"] for line in read_lines(self.run.folder / STATUS_FILE) if "epoch" in line]
        if told and told[-1] == self.state.history[-1]["epoch"] - 1:
            self.epoch()
