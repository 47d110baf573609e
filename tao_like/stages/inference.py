"""The inference stage: answers for files without labels, as rows and as pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tao_like.errors import DatasetError, SpecError
from tao_like.spec.common import CommonSpec, InferenceSpec
from tao_like.stages.devices import pick_device
from tao_like.stages.engines import LoadedModel, find_checkpoint, open_model
from tao_like.stages.evaluate import (
    choose_split,
    scoring_batch_size,
    write_result_files,
    write_rows,
)
from tao_like.stages.results import InferenceResult
from tao_like.tasks.base import Sample, Task
from tao_like.tracking import Run

PICTURES = "pictures"


def run(task_type: type[Task[Any]], spec: CommonSpec, run: Run) -> InferenceResult:
    """Answers every file of the source; leaves predictions.csv and pictures in the run's folder."""
    path = find_checkpoint(spec, spec.inference.checkpoint, "inference.checkpoint")
    model = open_model(task_type, spec, path, pick_device(spec.inference.gpu_ids, "inference.gpu_ids", run))
    if spec.inference.explain and model.network is None:
        raise SpecError("inference.explain needs a bundle: an ONNX file has no gradients; give model.tltb")
    skipped: list[str] = []
    count, samples = _samples(model.task, spec.inference, skipped, run)
    batch_size = scoring_batch_size(model.task, spec.inference.batch_size)
    rows: list[dict[str, Any]] = []
    entries: list[Any] = []
    with run.progress(f"running {path.name}", count) as bar:
        batch: list[Sample] = []
        for sample in samples:
            batch.append(sample)
            if len(batch) == batch_size:
                _answer(model, spec.inference, batch, rows, entries, run)
                bar.advance(len(batch))
                batch = []
        if batch:
            _answer(model, spec.inference, batch, rows, entries, run)
            bar.advance(len(batch))
    if not rows:
        raise DatasetError(f"none of {count} files could be read; the first: {skipped[0]}")
    predictions = write_rows(run, rows)
    write_result_files(run, model.task, entries)
    drawn = min(len(rows), spec.inference.max_pictures)
    report = {"checkpoint": str(path), "samples": len(rows), "skipped": skipped, "pictures": drawn}
    summary = [f"{len(rows)} answers: {predictions}"]
    if drawn:
        summary.append(f"{drawn} pictures: {run.folder / PICTURES}")
    return InferenceResult("inference", run.folder, report, summary, rows, predictions, skipped)


def _samples(
    task: Task[Any], spec: InferenceSpec, skipped: list[str], run: Run
) -> tuple[int, Iterator[Sample]]:
    """How many samples there are, and each as it is read."""
    if spec.source is None:
        split = choose_split(task, "test")
        dataset = task.dataset(split)
        run.info(f"inference.source is not given; running on the {len(dataset)} {split} samples.")
        return len(dataset), _read(dataset.sample, range(len(dataset)), spec.on_error, skipped, run)
    files = task.sources(spec.source)
    return len(files), _read(task.load, files, spec.on_error, skipped, run)


def _read(
    load: Callable[[Any], Sample], what: Iterable[Any], on_error: str, skipped: list[str], run: Run
) -> Iterator[Sample]:
    for one in what:
        try:
            sample = load(one)
        except DatasetError as error:
            if on_error == "stop":
                raise
            run.warning(f"skipped: {error}")
            skipped.append(str(error))
            continue
        yield sample


def _answer(
    model: LoadedModel,
    spec: InferenceSpec,
    batch: list[Sample],
    rows: list[dict[str, Any]],
    entries: list[Any],
    run: Run,
) -> None:
    """Runs a batch, adds its rows, and draws it while pictures are wanted."""
    prepared = model.task.prepare(batch)
    answers = model.task.answers(model.engine.run(prepared))
    wanted = len(rows) < spec.max_pictures
    heats: list[Any] | None = None
    if wanted and spec.explain and model.network is not None:
        heats = model.task.explain(model.network, prepared)
        if heats is None:
            raise SpecError(
                "inference.explain: this architecture keeps no map of places to explain; leave it out"
            )
    for number, (sample, answer) in enumerate(zip(batch, answers, strict=True)):
        rows.append(model.task.row(sample, answer))
        entries.append(model.task.entry(sample, answer))
        if len(rows) <= spec.max_pictures:
            card = model.task.draw(sample, answer, heats[number] if heats else None)
            with run.artefact(f"{PICTURES}/{len(rows):05d}_{_file_name(sample.key)}.jpg") as path:
                card.save(path, quality=90)


def _file_name(key: str) -> str:
    """A sample's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", Path(key).stem)[:60]
