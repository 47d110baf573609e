"""How far a phase of a training is, and what it has come to; all of it stands in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tao_like.config.blocks.common import EarlyStoppingSpec
from tao_like.contract.metrics import Goal


@dataclass
class State:
    """Plain values, as they stand between two batches.

    Attributes:
        epoch: number of the epoch that the phase is in, from 0.
        batch: batches of it that are done.
        step: optimizer steps since the beginning.
        validated: False where all batches of the epoch are done and its validation is still to come.
        ended: early stopping has ended the phase.
        loss_sum: sum of the losses of the epoch's batches so far.
        first_loss: of the first batch of all; None before it.
        best: value of the best validation's monitored metric; None before the first.
        waited: validations since the last one that early stopping takes for better.
        to_beat: the value of that one.
        history: a dictionary an epoch: ``epoch`` (its number, from 1), losses and metrics.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    validated: bool = True
    ended: bool = False
    loss_sum: float = 0.0
    first_loss: float | None = None
    best: float | None = None
    waited: int = 0
    to_beat: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> State:
        """The state that a checkpoint's record holds."""
        return cls(**{one.name: record[one.name] for one in fields(cls)})

    def record(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    @property
    def epoch_loss(self) -> float:
        """The mean loss of the epoch's batches so far."""
        return self.loss_sum / max(1, self.batch)

    @property
    def last_epoch(self) -> dict[str, float]:
        """Losses and metrics of the last epoch that was told of."""
        last = self.history[-1] if self.history else {}
        return {name: value for name, value in last.items() if name != "epoch"}

    def add_epoch(self, values: Mapping[str, float]) -> None:
        """Takes in what an epoch came to; where `train.max_steps` had cut it, it is told anew."""
        if self.history and self.history[-1]["epoch"] == values["epoch"]:
            self.history.pop()
        self.history.append(dict(values))

    def improves(self, goal: Goal, value: float) -> bool:
        """Whether a validation is the best so far, which it is from then on; NaN never is."""
        better = goal.gain(_worst(goal) if self.best is None else self.best, value) > 0
        if better:
            self.best = value
        return better

    def stops_early(self, goal: Goal, value: float, spec: EarlyStoppingSpec) -> bool:
        """Whether too many validations in a row were no better; NaN is worse than all."""
        before = _worst(goal) if self.to_beat is None else self.to_beat
        if goal.gain(before, value) > spec.min_delta:
            self.to_beat, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= spec.patience


def _worst(goal: Goal) -> float:
    return float("-inf") if goal.higher_is_better else float("inf")
