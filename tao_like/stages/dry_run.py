"""What a spec's network would cost on this machine, before anything is trained: parameters, memory, time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tao_like.config import load_spec
from tao_like.contract.capabilities import Generates
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.model import parts_of
from tao_like.stages.lib.engines import TorchEngine, default_format
from tao_like.tasks import spec_module, task_class

BATCHES = (1, 8)
STATES = {"sgd": 1, "adam": 2, "adamw": 2}
"""Numbers that an optimizer keeps for each parameter."""
_MEGABYTE = 1e6


@dataclass(frozen=True)
class DryRun:
    """What was found.

    Attributes:
        parameters: of each part of the network.
        megabytes: of weights alone (``run``), and in training with gradients, the optimizer's numbers and
            the moving average (``train``); what layers give comes on top, and grows with the batch.
        seconds: of processor time for one sample, by batch size.
        makes: what a sample is: ``image`` where the network makes images, else ``sample``.
    """

    parameters: dict[str, int]
    megabytes: dict[str, float]
    seconds: dict[int, float]
    makes: str

    def lines(self) -> list[str]:
        """For people."""
        total = sum(self.parameters.values())
        parts = ", ".join(f"{name} {count:,}" for name, count in self.parameters.items())
        of_parts = f" ({parts})" if len(self.parameters) > 1 else ""
        times = ", ".join(f"{value:.3g} s in a batch of {count}" for count, value in self.seconds.items())
        return [
            f"Parameters: {total:,}{of_parts}",
            f"Memory of the weights: {self.megabytes['run']:.1f} MB; in training with gradients and "
            f"optimizer: {self.megabytes['train']:.1f} MB, and what the layers give for a batch",
            f"Processor time for a {self.makes} on this machine, random weights: {times}",
        ]


def dry_run(task: str, spec: Path | None, overrides: Sequence[str] = ()) -> DryRun:
    """Builds the network of a spec with random weights and runs it on noise; writes nothing.

    Raises:
        SpecError: the spec is wrong.
        DatasetError: the network's size follows from data, such as words or classes, that cannot be read.
    """
    loaded: Any = load_spec(spec_module(task).Spec, spec, overrides).spec
    made = task_class(task)(loaded)
    network, _ = made.model(pretrained=False)
    network.eval()
    parameters = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in parts_of(network).items()
    }
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    train = made.spec.train
    copies = 2 + STATES.get(train.optim.optim, 2) + (1 if train.enable_ema else 0)
    generates = made.capability(Generates)
    generator = generates.generator() if generates else None
    engine = TorchEngine(made.exports(network, default_format(made)), torch.device("cpu"), generator)
    seconds = {}
    for count in BATCHES:
        preprocessed = preprocess(made.inputs, [dummy_sample(made.inputs, seed) for seed in range(count)])
        began = time.process_time()
        engine.run(preprocessed)
        seconds[count] = (time.process_time() - began) / count
    megabytes = {"run": weights / _MEGABYTE, "train": copies * weights / _MEGABYTE}
    return DryRun(parameters, megabytes, seconds, "image" if generates else "sample")
