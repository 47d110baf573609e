"""Which device a stage computes on."""

from __future__ import annotations

import os

import torch

from tao_like.errors import SpecError


def pick_device(gpu_ids: list[int]) -> torch.device:
    """The first of the GPUs asked for, else the first there is, else the CPU.

    Raises:
        SpecError: a GPU is asked for that this machine does not have.
    """
    count = torch.cuda.device_count()
    if gpu_ids and gpu_ids[0] >= count > 0:
        raise SpecError(f"gpu_ids={gpu_ids}: this machine has {count} GPUs, numbered from 0")
    if count:
        return torch.device("cuda", gpu_ids[0] if gpu_ids else 0)
    return torch.device("cpu")


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
