"""The machines and devices that a stage needs, read from its spec."""

from __future__ import annotations

from tao_like.config.blocks.common import CommonSpec
from tao_like.jobs.executors.base import Placement

_ON_ONE_GPU = ("evaluate", "inference", "prune")


def placement_of(spec: CommonSpec, action: str) -> Placement:
    """What an action of a resolved spec needs."""
    train, asked = spec.train, spec.execution.gpus
    several = action == "train"
    processes = max(train.num_gpus, len(train.gpu_ids), 1) if several else 1
    gpus = asked
    if asked < 0:
        gpus = processes if several else int(action in _ON_ONE_GPU)
        gpus = 0 if train.accelerator == "cpu" else gpus
    return Placement(train.num_nodes if several else 1, processes, gpus)
