"""The evaluate stage: metrics of a bundle or an ONNX file, on the form that ships."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import Dataset, Metrics, Split, Task
from tao_like.errors import DatasetError
from tao_like.plots.grids import picture_grid
from tao_like.stages.lib.devices import pick_device
from tao_like.stages.lib.engines import LoadedModel, find_checkpoint, open_model, score
from tao_like.stages.lib.loading import resolve_workers
from tao_like.stages.results import EvaluateResult
from tao_like.tracking import Run
from tao_like.tracking.files import csv_cell

PREDICTIONS = "predictions.csv"
DEFAULT_BATCH = 32


def run(task_type: type[Task[Any]], spec: CommonSpec, run: Run) -> EvaluateResult:
    """Scores a split; leaves metrics, a row a sample, and pictures in the run's folder."""
    path = find_checkpoint(spec, spec.evaluate.checkpoint, "evaluate.checkpoint")
    device = pick_device(spec.evaluate.gpu_ids, "evaluate.gpu_ids", run)
    model = open_model(task_type, spec, path, device)
    for note in model.notes:
        run.info(note)
    split = choose_split(model.task, spec.evaluate.split)  # type: ignore[arg-type]
    if split != spec.evaluate.split:
        run.info(f"There is no {spec.evaluate.split} data; scoring {split}.")
    dataset = model.task.dataset(split)
    batch_size = scoring_batch_size(model.task, spec.evaluate.batch_size)
    with run.progress(f"scoring {path.name}", len(dataset)) as bar:
        metrics = score(
            model.task,
            model.engine,
            dataset,
            batch_size,
            resolve_workers(model.task, device.type),
            bar.advance,
        )
    figures = metrics.compute()
    run.status(f"{path.name} scored on {split}", kpi=figures)
    rows, entries = [], []
    for index, answer in metrics.answered():
        sample = model.task.whole_sample(dataset, index)
        rows.append(model.task.row(sample, answer))
        entries.append(model.task.entry(sample, answer))
    write_rows(run, rows)
    write_result_files(run, model.task, entries)
    pictures = _write_pictures(run, model, dataset, metrics, spec.evaluate.max_pictures)
    report = {
        "checkpoint": str(path),
        "split": split,
        "samples": len(rows),
        "metrics": figures,
        "details": metrics.details(),
        "pictures": pictures,
    }
    table = [f"  {name:<22} {value:.4f}" for name, value in figures.items()]
    summary = [f"{path.name} on {len(rows)} {split} samples:", *table, f"Rows and pictures: {run.folder}"]
    return EvaluateResult("evaluate", run.folder, report, summary, figures, run.folder / PREDICTIONS)


def choose_split(task: Task[Any], wanted: Split) -> Split:
    """The split asked for; `test` falls back to `val`.

    Raises:
        DatasetError: the spec gives no such data.
    """
    if task.has_split(wanted):
        return wanted
    if wanted == "test" and task.has_split("val"):
        return "val"
    raise DatasetError(f"there is no {wanted} data; give {task.data_key(wanted)}")


def scoring_batch_size(task: Task[Any], given: int) -> int:
    """The stage's batch size, else the dataset's, else one that suits most machines."""
    if given > 0:
        return given
    size = task.batch_size()
    return DEFAULT_BATCH if size == "auto" else size


def write_rows(run: Run, rows: list[dict[str, Any]]) -> Path:
    """Rows as predictions.csv."""
    artefact = run.artefact(PREDICTIONS)
    with artefact as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["path"])
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return artefact.final


def write_result_files(run: Run, task: Task[Any], entries: list[Any]) -> None:
    """The task's own files with the answers."""
    for name, text in task.result_files([entry for entry in entries if entry is not None]).items():
        with run.artefact(name) as path:
            path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _write_pictures(
    run: Run, model: LoadedModel, dataset: Dataset, metrics: Metrics, limit: int
) -> list[str]:
    pictures = metrics.pictures()
    answers = dict(metrics.answered())
    worst = metrics.ranked()[:limit]
    if worst:
        cards = [model.task.draw(model.task.whole_sample(dataset, index), answers[index]) for index in worst]
        pictures["predictions_wrong_first"] = picture_grid(cards)
    for name, picture in pictures.items():
        with run.artefact(f"{name}.png") as path:
            picture.save(path)
    return [f"{name}.png" for name in pictures]
