"""Watches that a training does not diverge: losses, gradients and validations are finite and of sane size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tao_like.errors import TaoLikeError
from tao_like.stages.lib.folders import LAST_CHECKPOINT
from tao_like.stages.train.checkpoints.sharding import whole
from tao_like.stages.train.checkpoints.state import State
from tao_like.stages.train.setup.devices import from_all_processes

LOOK_EVERY = 8
"""Steps between two looks at the losses of a GPU, which has to finish its work for one."""
LARGEST_GROWTH = 1e4
"""A loss of so many times the first one, or of so much where that was below 1, is no longer a training."""
LARGEST_VAL_GROWTH = 1e6
"""The same of a validation, which may begin far off: norm layers have measured a few batches by then."""
_SAMPLES_NAMED = 4


class Diverged(TaoLikeError):
    """Loss, gradient or validation have left all bounds: there is nothing to be had from this training."""


@dataclass
class _Seen:
    """What is known of a batch whose loss nobody has looked at yet."""

    step: int
    rate: float
    indices: list[int]
    loss: Tensor
    norm: Tensor | None = None


class Watch:
    """Sums up the losses of an epoch and stops a training that has diverged.

    Args:
        state: gets the sum, and the first loss of all.
        fabric: with the device and the other processes; losses are means over them.
        key_of: gives the name of a sample by its index.
        checkpoints: the folder of the checkpoints, to name the last one.
        advice: what to change in the spec.
        skips_infinite: steps of infinite gradients are left out, as fp16's scaler does until its scale fits.
    """

    def __init__(
        self,
        state: State,
        fabric: Fabric,
        key_of: Callable[[int], str],
        checkpoints: Path | None,
        advice: str,
        *,
        skips_infinite: bool,
    ) -> None:
        self.state = state
        self.fabric = fabric
        self.last_loss = math.nan
        self._key_of = key_of
        self._checkpoints = checkpoints
        self._advice = advice
        self._skips_infinite = skips_infinite
        self._every = 1 if fabric.device.type == "cpu" else LOOK_EVERY
        self._seen: list[_Seen] = []

    def add_loss(self, loss: Tensor, indices: Tensor, rate: float) -> None:
        """Notes the loss of a batch, without waiting for it."""
        self._seen.append(_Seen(self.state.step + 1, rate, indices.tolist(), loss.detach()))

    def add_norm(self, norm: Tensor) -> None:
        """Notes the norm of the gradient of the step to which the last batch belongs."""
        if not self._skips_infinite:
            self._seen[-1].norm = norm.detach()

    @property
    def is_due(self) -> bool:
        """Whether enough steps have passed; all processes come to the same result."""
        return (self.state.step + 1) % self._every == 0

    def look(self, signal: int | None = None) -> int | None:
        """Looks at what was noted. All processes must call it.

        Args:
            signal: the number of one that asks this process to end.

        Returns:
            The number of a signal that asks any process to end.

        Raises:
            Diverged: a loss or norm is not finite, or far beyond the first loss.
        """
        seen, self._seen = self._seen, []
        own = [signal or 0, *(one.loss for one in seen), *(one.norm for one in seen if one.norm is not None)]
        values = from_all_processes(
            torch.stack(
                [torch.as_tensor(value, dtype=torch.float32).to(self.fabric.device) for value in own]
            ),
            self.fabric,
        )
        means = values.mean(dim=0).tolist()
        norms = iter(means[1 + len(seen) :])
        for one, loss in zip(seen, means[1:], strict=False):
            self._check(loss, "the loss", LARGEST_GROWTH, one.step, one.rate, one.indices)
            if one.norm is not None and not math.isfinite(norm := next(norms)):
                raise self._error(f"the norm of the gradient is {norm}", one.step, one.rate, one.indices)
            self.state.loss_sum += loss
            self.last_loss = loss
            if self.state.first_loss is None:
                self.state.first_loss = loss
        return int(values[:, 0].max()) or None

    def check_validation(self, values: Mapping[str, float], monitor: str, rate: float) -> None:
        """Raises Diverged where the loss, or the metric that the training is judged by, is out of bounds."""
        self._check(values["val_loss"], "val_loss", LARGEST_VAL_GROWTH, self.state.step, rate)
        if not math.isfinite(values.get(monitor, 0.0)):
            raise self._error(f"{monitor} is {values[monitor]}", self.state.step, rate, None)

    def check_weights(self, model: nn.Module, rate: float) -> None:
        """Raises Diverged where a weight is not finite."""
        finite = [whole(parameter.detach().isfinite().all()) for parameter in model.parameters()]
        if finite and not bool(torch.stack(finite).all()):
            raise self._error("weights are no longer finite", self.state.step, rate, None)

    def _check(
        self,
        value: float,
        what: str,
        growth: float,
        step: int,
        rate: float,
        indices: list[int] | None = None,
    ) -> None:
        first = self.state.first_loss
        if not math.isfinite(value):
            raise self._error(f"{what} is {value}", step, rate, indices)
        if first is not None and value > growth * max(1.0, abs(first)):
            raise self._error(f"{what} is {value:.3g}, and was {first:.3g} at first", step, rate, indices)

    def _error(self, what: str, step: int, rate: float, indices: list[int] | None) -> Diverged:
        batch = f", batch of {self._named(indices)}" if indices else ""
        last = self._checkpoints / LAST_CHECKPOINT if self._checkpoints else None
        kept = (
            f"the last checkpoint before it is {last}"
            if last is not None and last.is_file()
            else "there is no checkpoint before it"
        )
        return Diverged(
            f"the training has diverged: at step {step} {what} (learning rate {rate:.3g}{batch}). "
            f"{self._advice}. No bundle is written; {kept}"
        )

    def _named(self, indices: list[int]) -> str:
        names: list[Any] = [self._key_of(index) for index in indices[:_SAMPLES_NAMED]]
        return ", ".join(names) + (", ..." if len(indices) > _SAMPLES_NAMED else "")
