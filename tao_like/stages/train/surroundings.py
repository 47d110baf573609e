"""What a training sets in its process and leaves as it found it: seeds, cuDNN's choices, Fabric's words."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from tao_like.config.blocks.common import TrainSpec
from tao_like.stages.train.memory import keep_freed_memory


@contextmanager
def own_settings(train: TrainSpec) -> Iterator[None]:
    """A process as a training wants it; afterwards it is as it was."""
    keep_freed_memory()
    seeds = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cudnn = torch.backends.cudnn
    choices = cudnn.deterministic, cudnn.benchmark
    loggers = [logging.getLogger(name) for name in ("lightning_fabric", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        # Not torch's deterministic algorithms: they also fill all new memory, which slows a CPU's steps.
        cudnn.deterministic, cudnn.benchmark = train.cudnn.deterministic, train.cudnn.benchmark
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning_fabric")
            # The scaler of fp16 leaves out steps, of which the schedule knows nothing.
            warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler\.step\(\)` before")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        cudnn.deterministic, cudnn.benchmark = choices
        torch.set_rng_state(seeds[0])
        np.random.set_state(seeds[1])
        random.setstate(seeds[2])


def seed_everything(seed: int) -> None:
    """Seeds all that draws where nothing else says from what."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
