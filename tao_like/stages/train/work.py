"""What all phases of a training share, and what each has come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import AnyTask
from tao_like.stages.train.checkpoints.resume import Resumed
from tao_like.stages.train.setup.origin import Origin
from tao_like.tracking import Run, StopRequest


@dataclass
class PhaseResult:
    """What a phase has come to.

    Attributes:
        phase: its name.
        epochs: passes over its data.
        seconds: since it began, or was resumed.
        metrics: of the kept weights on the validation data.
        thresholds: that suit them best.
        last_epoch: losses and metrics of the last epoch.
        batch_size: samples a step and process; workers: loading processes.
    """

    phase: str
    epochs: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, Any] = field(default_factory=dict)
    last_epoch: dict[str, float] = field(default_factory=dict)
    batch_size: int = 0
    workers: int = 0


@dataclass
class Work:
    """What all phases of a training share.

    Attributes:
        task: at work on the spec.
        spec: the resolved spec.
        run: takes messages.
        fabric: device, precision and processes.
        model: as it stands now.
        stop: signals that ask for an end.
        origin: the trained network that this training goes on with, or None.
        resumed: the checkpoint that it goes on from, or None.
        learns: whether each parameter learns where no phase says otherwise.
        done: what the phases before have come to.
    """

    task: AnyTask
    spec: CommonSpec
    run: Run
    fabric: Fabric
    model: nn.Module
    stop: StopRequest
    origin: Origin | None
    resumed: Resumed | None
    learns: dict[str, bool]
    done: list[PhaseResult]
