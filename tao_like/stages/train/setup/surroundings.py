"""What a training sets in its process; whoever runs the stage puts it back."""

from __future__ import annotations

import logging
import random
import warnings

import numpy as np
import torch

from tao_like.config.blocks.common import TrainSpec
from tao_like.stages.train.setup.memory import keep_freed_memory


def set_up_process(train: TrainSpec) -> None:
    """Seeds, memory and cuDNN as a training wants them, and Fabric silent."""
    keep_freed_memory()
    torch.manual_seed(train.seed)
    np.random.seed(train.seed % 2**32)
    random.seed(train.seed)
    # Not torch's deterministic algorithms: they also fill all new memory, which slows a CPU's steps.
    torch.backends.cudnn.deterministic = train.cudnn.deterministic
    torch.backends.cudnn.benchmark = train.cudnn.benchmark
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    # The scaler of fp16 leaves out steps, of which the schedule knows nothing.
    warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler\.step\(\)` before")
