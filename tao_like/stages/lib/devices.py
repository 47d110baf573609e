"""Which device a stage computes on."""

from __future__ import annotations

import os

import torch

from tao_like.errors import SpecError
from tao_like.tracking import Run


def pick_device(gpu_ids: list[int], key: str, run: Run) -> torch.device:
    """The first of the GPUs asked for, else the first there is, else the CPU.

    Args:
        gpu_ids: what the spec has.
        key: the spec's key that has it.
        run: is told where fewer devices compute than were asked for.

    Raises:
        SpecError: a GPU is asked for that this machine, which has others, does not have.
    """
    check_gpu_ids(gpu_ids, key)
    if not torch.cuda.device_count():
        if gpu_ids:
            run.warning(no_gpu(gpu_ids, key))
        return torch.device("cpu")
    if len(gpu_ids) > 1:
        run.warning(f"{key}={gpu_ids}: this stage computes on one device, GPU {gpu_ids[0]}")
    return torch.device("cuda", gpu_ids[0] if gpu_ids else 0)


def check_gpu_ids(gpu_ids: list[int], key: str) -> None:
    """Raises SpecError for a number that none of this machine's GPUs has; where it has none, any will do."""
    count = torch.cuda.device_count()
    if count and any(number >= count for number in gpu_ids):
        raise SpecError(
            f"{key}={gpu_ids}: this machine has {count} GPU{'s' if count > 1 else ''}, numbered from 0; "
            f"`tao-like doctor` lists them"
        )


def no_gpu(gpu_ids: list[int], key: str) -> str:
    """What to say where GPUs are asked for and there is none: specs travel between machines."""
    return f"{key}={gpu_ids}: torch sees no GPU on this machine, so the CPU computes"


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
