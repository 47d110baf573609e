"""Scoring a trained model: each sample once through an engine, into the metrics of its last phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tao_like.contract.capabilities import AsksFirst, Tiles
from tao_like.contract.data import Dataset
from tao_like.contract.inputs import model_inputs
from tao_like.contract.metrics import Metrics
from tao_like.contract.phase import Phase
from tao_like.contract.sample import Sample, Split
from tao_like.contract.task import AnyTask
from tao_like.errors import DatasetError
from tao_like.stages.lib.engines import Engine
from tao_like.stages.lib.loading import scoring_loader

DEFAULT_BATCH = 32
Scored = tuple[int, Any, Any]
"""Number, prediction and target of a sample."""


def last_phase(task: AnyTask) -> Phase[Any]:
    """The phase whose metrics a whole model is judged by."""
    return task.phases()[-1]


def choose_split(task: AnyTask, wanted: Split) -> Split:
    """The split asked for; `test` falls back to `val`.

    Raises:
        DatasetError: the spec gives no such data.
    """
    if task.data.has(wanted):
        return wanted
    if wanted == "test" and task.data.has("val"):
        return "val"
    raise DatasetError(f"there is no {wanted} data; give {task.data.key(wanted)}")


def scoring_batch_size(task: AnyTask, given: int) -> int:
    """The stage's batch size, else the dataset's, else one that suits most machines."""
    if given > 0:
        return given
    size = task.data.loading.batch_size
    return DEFAULT_BATCH if size == "auto" else size


def score(
    task: AnyTask,
    engine: Engine,
    dataset: Dataset,
    batch_size: int,
    workers: int,
    on_batch: Callable[[int], None] = lambda count: None,
    on_sample: Callable[[int, Any, Any], None] = lambda number, prediction, target: None,
    metrics: Metrics | None = None,
) -> Metrics:
    """Runs a dataset through an engine and scores the predictions.

    Args:
        task: whose data it is.
        engine: gives the outputs.
        dataset: a split.
        batch_size: samples of a call.
        workers: loading processes.
        on_batch: called with the number of samples of each batch.
        on_sample: called with number, prediction and target of each sample, tiles merged to whole images.
        metrics: a fresh set; None: the last phase's.
    """
    asks = task.capability(AsksFirst)
    if asks is not None:
        asks.ask(engine.run, "score")
    metrics = metrics or last_phase(task).metrics()
    tiles = task.capability(Tiles)
    scored = _scored(task, engine, dataset, batch_size, workers, on_batch)
    for number, prediction, target in tiles.merged(scored) if tiles else scored:
        metrics.update([number], [prediction], [target])
        on_sample(number, prediction, target)
    return metrics


def _scored(
    task: AnyTask,
    engine: Engine,
    dataset: Dataset,
    batch_size: int,
    workers: int,
    on_batch: Callable[[int], None],
) -> Iterator[Scored]:
    for batch in scoring_loader(task.data, dataset, batch_size, workers):
        predictions = task.predictions.from_outputs(engine.run(model_inputs(task.inputs, batch)))
        targets = task.predictions.targets(batch)
        yield from zip(batch.indices.tolist(), predictions, targets, strict=True)
        on_batch(len(batch))


def whole_sample(task: AnyTask, dataset: Dataset, number: int) -> Sample:
    """The sample that a number of `score` stands for, with its data."""
    tiles = task.capability(Tiles)
    return tiles.whole_sample(dataset, number) if tiles else dataset.sample(number)


def sample_key(task: AnyTask, dataset: Dataset, number: int) -> str:
    """The name of that sample, without reading it."""
    tiles = task.capability(Tiles)
    return tiles.whole_key(dataset, number) if tiles else dataset.key(number)
