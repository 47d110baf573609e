"""The evaluate stage: metrics of a bundle or an ONNX file, on the form that ships."""

from __future__ import annotations

from typing import Any

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import Generates
from tao_like.contract.data import Dataset
from tao_like.contract.metrics import Metrics, Report
from tao_like.contract.sample import Sample
from tao_like.contract.task import AnyTask
from tao_like.plots.grids import image_grid
from tao_like.stages.lib.devices import pick_device
from tao_like.stages.lib.engines import LoadedModel, find_checkpoint, open_model, with_generator
from tao_like.stages.lib.loading import resolve_workers
from tao_like.stages.lib.prediction_files import PREDICTIONS, prediction_writer
from tao_like.stages.lib.scoring import (
    choose_split,
    last_phase,
    sample_key,
    score,
    scoring_batch_size,
    whole_sample,
)
from tao_like.stages.results import EvaluateResult
from tao_like.tracking import Run

WORST_FIGURE = "predictions_wrong_first"


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> EvaluateResult:
    """Scores a split; leaves metrics, a row a sample, and images in the run's folder."""
    path = find_checkpoint(spec, spec.evaluate.checkpoint, "evaluate.checkpoint")
    device = pick_device(spec.evaluate.gpu_ids, "evaluate.gpu_ids", run)
    model = open_model(task_type, spec, path, device)
    for note in model.notes:
        run.info(note)
    split = choose_split(model.task, spec.evaluate.split)  # type: ignore[arg-type]
    if split != spec.evaluate.split:
        run.info(f"There is no {spec.evaluate.split} data; scoring {split}.")
    dataset = model.task.data.dataset(split)
    with prediction_writer(run, model.task) as rows:

        def add_row(number: int, prediction: Any, target: Any) -> None:
            rows.add(Sample(sample_key(model.task, dataset, number), None, target), prediction)

        with run.progress(f"scoring {path.name}", len(dataset)) as bar:
            metrics = score(
                model.task,
                model.engine,
                dataset,
                scoring_batch_size(model.task, spec.evaluate.batch_size),
                resolve_workers(model.task.data, device.type),
                bar.advance,
                add_row,
            )
    found = metrics.compute()
    for note in found.notes:
        run.warning(note)
    variants, details = _score_variants(model, dataset, spec, run)
    run.status(f"{path.name} scored on {split}", kpi=found.values)
    report = {
        "checkpoint": str(path),
        "split": split,
        "samples": rows.count,
        "metrics": found.values,
        "details": found.details,
        "pictures": _write_figures(run, model, dataset, metrics, found, spec.evaluate.max_pictures),
    }
    table = [f"  {name:<22} {value:.4f}" for name, value in found.values.items()]
    if variants:
        report["variants"] = variants
        report["variant_details"] = details
        goal = last_phase(model.task).goal.metric
        for name, values in variants.items():
            shown = {goal: values[goal]} if goal in values else values
            table += [f"  {key} with {name:<10} {value:.4f}" for key, value in shown.items()]
    summary = [f"{path.name} on {rows.count} {split} samples:", *table, f"Rows and images: {run.folder}"]
    summary += rows.notes
    return EvaluateResult("evaluate", run.folder, report, summary, found.values, run.folder / PREDICTIONS)


def _score_variants(
    model: LoadedModel, dataset: Dataset, spec: CommonSpec, run: Run
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Any]]]:
    """Metrics and details with the task's other ways of generating, and a figure of each."""
    generates = model.task.capability(Generates)
    found, details = {}, {}
    for name, variant in (generates.variants(dataset) if generates else {}).items():
        with run.progress(f"scoring with {name}", len(dataset)) as bar:
            metrics = score(
                model.task,
                with_generator(model.engine, variant.generator),
                dataset,
                scoring_batch_size(model.task, spec.evaluate.batch_size),
                0,
                bar.advance,
                metrics=variant.metrics() if variant.metrics else None,
            )
        computed = metrics.compute()
        found[name] = computed.values
        details[name] = computed.details
        shown = [
            model.task.predictions.draw(whole_sample(model.task, dataset, number), prediction)
            for number, prediction in sorted(metrics.worst(spec.evaluate.max_pictures))
        ]
        if shown:
            with run.artefact(f"{name}.png") as path:
                image_grid(shown).save(path)
    return found, details


def _write_figures(
    run: Run, model: LoadedModel, dataset: Dataset, metrics: Metrics, found: Report, limit: int
) -> list[str]:
    """Draws the metrics' figures and the samples that are most wrong. Returns the files' names."""
    figures = found.draw()
    cards = [
        model.task.predictions.draw(whole_sample(model.task, dataset, number), prediction)
        for number, prediction in metrics.worst(limit)
    ]
    if cards:
        figures[WORST_FIGURE] = image_grid(cards)
    for name, figure in figures.items():
        with run.artefact(f"{name}.png") as path:
            figure.save(path)
    return [f"{name}.png" for name in figures]
