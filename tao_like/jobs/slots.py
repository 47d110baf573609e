"""How many jobs run side by side, and on which devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tao_like.jobs.job import Job


@dataclass(frozen=True)
class Slots:
    """What a machine has for jobs.

    Attributes:
        jobs: that may run at a time.
        gpus: numbers of the devices that they may have, each one job's alone.
        elsewhere: the jobs run where an engine places them, which gives them devices.
    """

    jobs: int = 1
    gpus: tuple[int, ...] = ()
    elsewhere: bool = False

    def free_gpus(self, running: Iterable[Job]) -> list[int]:
        """The devices that no running job has."""
        taken = {number for job in running for number in job.gpu_ids}
        return [number for number in self.gpus if number not in taken]

    def next(self, running: list[Job], queue: list[Job]) -> tuple[Job, tuple[int, ...]] | None:
        """The job that starts now, and its devices.

        It is the first of the queue, or none: smaller ones do not overtake one that waits for devices, as it
        could wait for ever then.
        """
        if not queue or len(running) >= self.jobs:
            return None
        if self.elsewhere:
            return queue[0], ()
        job, free = queue[0], self.free_gpus(running)
        return (job, tuple(free[: job.gpus])) if job.gpus <= len(free) else None


def gpus_of_machine() -> tuple[int, ...]:
    """Numbers of the NVIDIA devices that this process may use, without loading anything of CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(int(word) for word in visible.split(",") if word.strip().isdigit())
    return tuple(range(len(list(Path("/proc/driver/nvidia/gpus").glob("*")))))
