"""Scoring the validation data in the midst of a training, in as many processes as there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tao_like.contract.batch import Batch
from tao_like.contract.metrics import Metrics, Report
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Outputs
from tao_like.stages.train.setup.data import TrainingData

Step = Callable[[Batch[Any]], tuple[dict[str, Tensor], Outputs]]


def validate(
    phase: Phase[Any], data: TrainingData, step: Step, after_batch: Callable[[], None]
) -> tuple[dict[str, float], Report, Metrics]:
    """Scores all validation data once. All processes must call it, and come to the same.

    Args:
        phase: gives the metrics.
        data: this process's fraction of the samples.
        step: losses and outputs of a batch.
        after_batch: called after every batch.

    Returns:
        Loss and metrics with ``val_`` in front of their names, the report, and the metrics themselves.
    """
    metrics = phase.metrics()
    sums = torch.zeros(2)  # losses, samples

    def scored() -> Iterator[tuple[int, Any, Any]]:
        predictions = phase.predictions
        for batch in data.validation():
            losses, outputs = step(batch)
            loss = sum(float(value) for value in losses.values())
            sums.add_(torch.tensor([loss * len(batch), float(len(batch))]))
            found = predictions.from_outputs(outputs)
            yield from zip(batch.indices.tolist(), found, predictions.targets(batch), strict=True)
            after_batch()

    samples = scored()
    for number, prediction, target in data.tiles.merged(samples) if data.tiles else samples:
        metrics.update([number], [prediction], [target])
    metrics = metrics.synchronized()
    total = sums.to(data.fabric.device)
    if data.fabric.world_size > 1:
        torch.distributed.all_reduce(total)
    report = metrics.compute()
    values = {"loss": float(total[0] / total[1].clamp(min=1)), **report.values}
    return {f"val_{name}": float(value) for name, value in values.items()}, report, metrics
