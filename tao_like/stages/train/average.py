"""Exponential moving average of weights and buffers; validated, checkpointed and shipped."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class MovingAverage:
    """A network whose weights are the average of another's over its steps.

    The decay is warmed up as (1 + n) / (10 + n), the rule of TensorFlow's ExponentialMovingAverage: the
    average is then over the last ninth of the steps, so that the first weights do not drag it down.

    Args:
        network: whose weights are averaged, where it is to be trained.
        decay: fraction of the average that stays at every step, once warmed up.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.count = 0
        means, current = self.network.state_dict().values(), network.state_dict().values()
        # Held, for to look for them takes as long as to average them. Counters are copied.
        self._pairs = [pair for pair in zip(means, current, strict=True) if pair[0].is_floating_point()]
        self._counters = [
            pair for pair in zip(means, current, strict=True) if not pair[0].is_floating_point()
        ]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after a step."""
        fraction = min(self.decay, (1 + self.count) / (10 + self.count)) if self.count else 0.0
        means, current = [mean for mean, _ in self._pairs], [now for _, now in self._pairs]
        if self.count:
            torch._foreach_lerp_(means, current, 1 - fraction)
        else:
            torch._foreach_copy_(means, current)
        if self._counters:
            torch._foreach_copy_([mean for mean, _ in self._counters], [now for _, now in self._counters])
        self.count += 1

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"count": self.count, "state_dict": self.network.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on with the average of a checkpoint."""
        self.count = int(state["count"])
        self.network.load_state_dict(state["state_dict"])
