"""The compare stage: one table of all models, and a failure where one loses too much."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.inputs import dummy_sample, preprocess
from tao_like.contract.sample import Split
from tao_like.contract.task import AnyTask
from tao_like.errors import ConversionError
from tao_like.stages.compare.figure import draw_comparison
from tao_like.stages.compare.likeness import likenesses
from tao_like.stages.compare.models import Candidate, find_paths, open_candidates
from tao_like.stages.compare.table import comparison_table, processor_lines, table_text, write_csv
from tao_like.stages.lib.devices import processors
from tao_like.stages.lib.folders import model_bytes
from tao_like.stages.lib.latency import Latency, measure_in_turns
from tao_like.stages.lib.loading import resolve_workers
from tao_like.stages.lib.processor import busy_note, this_processor
from tao_like.stages.lib.scoring import choose_split, last_phase, score, scoring_batch_size
from tao_like.stages.results import CompareResult
from tao_like.tracking import Run

TABLE_NAME = "comparison.csv"
FIGURE_NAME = "comparison.png"
SECONDS = 60.0
"""Longest time of one measurement in turns."""


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> CompareResult:
    """Scores and times all models; leaves report.json, comparison.csv and comparison.png.

    Raises:
        ConversionError: a model loses more than `compare.max_drop`; the table is written all the same.
    """
    settings = spec.compare
    threads = processors() if settings.threads == "auto" else int(settings.threads)
    with tempfile.TemporaryDirectory() as folder:
        paths = find_paths(spec)
        candidates = open_candidates(task_type, spec, paths, threads, run, Path(folder))
        split = choose_split(candidates[0].task, settings.split)  # type: ignore[arg-type]
        if split != settings.split:
            run.info(f"There is no {settings.split} data; scoring {split}.")
        _check_same_data(candidates, split, run)
        metrics = [_metrics(candidate, split, spec, run) for candidate in candidates]
        likeness = likenesses(candidates, split)
        single = _latencies(candidates, 1, settings.rounds, run)
        batched = _latencies(candidates, settings.throughput_batch, -(-settings.rounds // 4), run)
    goal = last_phase(candidates[0].task).goal
    primary_metric = goal.metric

    def loss(values: dict[str, float]) -> float:
        return -goal.gain(metrics[0][primary_metric], values[primary_metric])

    rows = [
        {
            **_row(candidate, values, loss(values), single, batched),
            "likeness": near,
        }
        for candidate, values, near in zip(candidates, metrics, likeness, strict=True)
    ]
    report = {
        "split": split,
        "headline": primary_metric,
        "threads": threads,
        "processor": this_processor().to_dict(),
        "rounds": settings.rounds,
        "max_drop": settings.max_drop,
        "rows": rows,
    }
    _write(run, rows, report, primary_metric)
    run.info(f"{this_processor().text()}; {threads} threads a call; batch 1 timed in turns.")
    if settings.rounds and (note := busy_note()):
        run.warning(note)
    run.info(table_text(comparison_table(rows, primary_metric)))
    for row in rows:
        if row["likeness"]:
            told = ", ".join(f"{name} {value:.5f}" for name, value in row["likeness"].items())
            run.info(f"{row['name']} against {rows[0]['name']}: {told}")
    for sentence in processor_lines(rows, overflows=this_processor().overflows):
        run.info(sentence)
    _check_drops(rows, primary_metric, settings.max_drop)
    return CompareResult("compare", run.folder, report, [f"Table and image: {run.folder}"], rows)


def _check_same_data(candidates: list[Candidate], split: Split, run: Run) -> None:
    """Warns where a model was trained on another division of the data, so that its test samples differ."""
    prints = [candidate.task.data.fingerprint(split) for candidate in candidates]
    for candidate, own in zip(candidates, prints, strict=True):
        if own != prints[0]:
            run.warning(
                f"{candidate.name} was trained on another division of the data than {candidates[0].name}, so "
                f"its {split} samples are others; give {candidate.task.data.key(split)} to score both on the "
                "same"
            )


def _metrics(candidate: Candidate, split: Split, spec: CommonSpec, run: Run) -> dict[str, float]:
    task = candidate.task
    dataset = task.data.dataset(split)
    with run.progress(f"scoring {candidate.name}", len(dataset)) as bar:
        size = scoring_batch_size(task, spec.compare.batch_size)
        workers = resolve_workers(task.data, "cpu")
        return score(task, candidate.engine, dataset, size, workers, bar.advance).compute().values


def _latencies(candidates: list[Candidate], batch: int, rounds: int, run: Run) -> dict[str, Latency]:
    """Times of a call with noise, in turns; empty where none are wanted."""
    if rounds == 0:
        return {}

    def call(candidate: Candidate) -> Any:
        inputs = candidate.task.inputs
        preprocessed = preprocess(inputs, [dummy_sample(inputs, seed) for seed in range(batch)])
        return lambda: candidate.engine.run(preprocessed)

    run.status(f"timing {len(candidates)} models at batch {batch}, in turns")
    # A bar would take some of the processor's time from what is timed.
    run.info(f"Timing {len(candidates)} models at batch {batch}, in turns: a minute or so at most.")
    calls = {candidate.name: call(candidate) for candidate in candidates}
    return measure_in_turns(calls, rounds=rounds, seconds=SECONDS, batch=batch)


def _row(
    candidate: Candidate,
    metrics: dict[str, float],
    drop: float,
    single: dict[str, Latency],
    batched: dict[str, Latency],
) -> dict[str, Any]:
    latency, throughput = single.get(candidate.name), batched.get(candidate.name)
    return {
        "name": candidate.name,
        "path": str(candidate.path),
        "form": candidate.form,
        "processors": candidate.processors,
        "runs_in": candidate.runs_in,
        "metrics": metrics,
        "drop": drop,
        "bytes": model_bytes(candidate.path),
        "parameters": candidate.cost.parameters if candidate.cost else None,
        "macs": candidate.cost.macs if candidate.cost else None,
        "median_ms": latency.median_ms if latency else None,
        "p95_ms": latency.p95_ms if latency else None,
        "throughput": throughput.throughput if throughput else None,
        "throughput_batch": throughput.batch if throughput else None,
    }


def _write(run: Run, rows: list[dict[str, Any]], report: dict[str, Any], primary_metric: str) -> None:
    """Writes everything before a loss can fail the stage."""
    with run.artefact(TABLE_NAME) as path:
        write_csv(path, rows)
    if all(row["median_ms"] for row in rows):
        with run.artefact(FIGURE_NAME) as path:
            draw_comparison(rows, primary_metric).save(path, format="PNG")
    run.report(report)


def _check_drops(rows: list[dict[str, Any]], primary_metric: str, max_drop: float | None) -> None:
    if max_drop is None:
        return
    # Not `drop > max_drop`: a loss that is not a number must fail too.
    worse = [row for row in rows[1:] if not row["drop"] <= max_drop]
    if worse:
        named = ", ".join(f"{row['name']} ({row['drop']:.4f})" for row in worse)
        raise ConversionError(
            f"against {rows[0]['name']} more of {primary_metric} is lost than compare.max_drop={max_drop:g}: "
            f"{named}; the table is written"
        )
