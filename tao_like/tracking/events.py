"""What a run tells while it goes on, for whoever listens: the console, its files, a program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Level = Literal["info", "warning", "error"]


class Events:
    """Listens to a run; a listener overrides what it wants to hear, and here all of it does nothing.

    Calls come from the thread that runs the stage, in a parallel run from the first process alone. They
    should return soon. An exception that is raised in one ends the run as a failure, and goes on to the
    caller of the stage: so a program can cancel a run.
    """

    def log(self, level: Level, text: str) -> None:
        """A sentence for the user; ``error`` says why the run failed, and with its traceback, where."""

    def progress(self, description: str, done: int, total: int, values: Mapping[str, Any]) -> None:
        """A piece of work has come so far; at most five times a second, and at its end.

        Args:
            description: what is being done, such as ``epoch 3``.
            done: steps that are done, of ``total``.
            total: number of steps.
            values: what is shown beside the bar, such as ``{"loss": 0.12}``.
        """

    def metric(
        self, values: Mapping[str, float], *, step: int | None = None, epoch: int | None = None
    ) -> None:
        """Values by name, at an optimizer step or an epoch of a training, or of the whole run.

        Args:
            values: an epoch's have the names of status.json, such as ``val_loss``; a step's have those of
                TensorBoard's curves, such as ``train/loss`` and ``learning_rate/new``.
            step: optimizer steps that were done before; with an epoch too, until its end.
            epoch: from 1; None: of a step or, where that is None too, of the whole run.
        """

    def figure(self, name: str, path: Path) -> None:
        """An image was written; ``name`` is its name in the run folder."""

    def status(self, status: str, message: str, fields: Mapping[str, Any]) -> None:
        """A line of status.json: ``STARTED``, ``RUNNING``, ``SUCCESS`` or ``FAILURE``.

        Args:
            status: one of these words; the last two end the run.
            message: what is going on, or why it failed.
            fields: further fields, such as epoch, max_epoch, step, eta, kpi, seconds.
        """
