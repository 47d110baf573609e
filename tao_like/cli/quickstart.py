"""The main job from end to end on sample data: each command is shown, and run in this process."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tao_like.config.shipped import shipped_specs
from tao_like.stages import StageResult, run_stage
from tao_like.stages.results import counted

SPEC = "classification/digits_quickstart.yaml"


@dataclass(frozen=True)
class Step:
    """A command of the quickstart.

    Attributes:
        stage: its stage.
        about: what it works on, for the table.
        overrides: behind the command.
    """

    stage: str
    about: str = ""
    overrides: tuple[str, ...] = ()


def steps(results: Path) -> list[Step]:
    """All commands in their order: the trained network on its way out, then the same smaller and faster."""

    def at(*parts: str) -> str:
        return results.joinpath(*parts).as_posix()

    trained, exported = at("train", "model.tltb"), at("export", "model.onnx")
    again, small = at("retrain", "model.tltb"), at("export_pruned", "model.onnx")
    int8 = at("quantize", "model_int8.onnx")
    retrain = (
        f"train.pruned_model_path={at('prune', 'model.tltb')}",
        f"train.distill.teacher_model_path={trained}",
        f"train.results_dir={at('retrain')}",
        "train.num_epochs=6",
    )
    return [
        Step("dataset_check"),
        Step("train"),
        Step("evaluate", "the bundle"),
        Step("inference", "", ("inference.explain=true", "inference.max_pictures=24")),
        Step("export"),
        Step(
            "evaluate",
            "the ONNX file",
            (f"evaluate.checkpoint={exported}", f"evaluate.results_dir={at('evaluate_onnx')}"),
        ),
        Step("prune"),
        Step("train", "what pruning left", retrain),
        Step(
            "export",
            "the pruned network",
            (f"export.checkpoint={again}", f"export.results_dir={at('export_pruned')}"),
        ),
        Step("quantize", "the pruned network", (f"quantize.checkpoint={small}",)),
        # In quotes, for folders whose names hold commas or brackets.
        Step("compare", "", (f"compare.checkpoints={json.dumps([exported, small, int8])}",)),
    ]


def run_quickstart(folder: Path, *, debug: bool) -> None:
    """Runs all stages on the digits; data, spec and results stay in ``folder``."""
    console = Console()
    began = time.monotonic()
    spec = folder / "digits.yaml"
    console.print(f"All stages on scanned handwritten digits, in the folder {folder}.\n", highlight=False)
    _show(console, f"tao-like samples digits {shlex.quote(str(folder / 'digits'))}")
    from tao_like.samples.catalog import write_sample

    write_sample("digits", folder / "digits")
    spec.write_text(_spec_for(folder), encoding="utf-8")
    console.print(f"1,797 images, and a spec file: {spec}", highlight=False)
    rows: list[tuple[str, str, float, str]] = []
    for step in steps(folder / "results"):
        words = " ".join(shlex.quote(override) for override in step.overrides)
        _show(console, f"tao-like classification {step.stage} -e {shlex.quote(str(spec))} {words}".rstrip())
        started = time.monotonic()
        result = run_stage("classification", step.stage, spec, step.overrides, console=console, debug=debug)
        rows.append((step.stage, step.about, time.monotonic() - started, _outcome(result)))
    _finish(console, folder, rows, time.monotonic() - began)


def _spec_for(folder: Path) -> str:
    """The shipped spec with its paths inside ``folder``."""
    text = (shipped_specs() / SPEC).read_text(encoding="utf-8")
    changes = {"results_dir: results/digits": f"results_dir: {json.dumps(str(folder / 'results'))}"}
    for split in ("train", "val", "test"):
        changes[f"images_dir: digits/{split}"] = f"images_dir: {json.dumps(str(folder / 'digits' / split))}"
    for before, after in changes.items():
        assert before in text, f"{SPEC} has no '{before}'"
        text = text.replace(before, after)
    return text


def _show(console: Console, command: str) -> None:
    console.print(f"\n[bold cyan]$ {command}[/]", highlight=False, soft_wrap=True)


def _outcome(result: Any) -> str:
    """What a stage came to, for the table."""
    if result.stage == "dataset_check":
        return f"{counted(result.errors, 'error')}, {counted(result.warnings, 'warning')}"
    if result.stage in ("train", "evaluate"):
        split = "val" if result.stage == "train" else result.report["split"]
        return f"{split} accuracy {result.metrics['accuracy']:.4f}"
    if result.stage == "inference":
        return f"{len(result.rows)} predictions"
    if result.stage == "prune":
        return f"{result.macs_share:.2f} of the arithmetic left"
    if result.stage == "quantize":
        before, after = result.float_metrics["accuracy"], result.metrics["accuracy"]
        return f"val accuracy {before:.4f} in fp32, {after:.4f} in int8"
    if result.stage == "compare":
        return "; ".join(_compared(result.rows))
    assert isinstance(result, StageResult)
    return f"differs from torch by {result.report['largest_difference']:.0e} at most"


def _compared(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The smaller models beside the first: accuracy, and fractions of its arithmetic and latency."""
    first = rows[0]
    yield f"test accuracy {first['metrics']['accuracy']:.4f}"
    for name, row in zip(("pruned", "pruned, int8"), rows[1:], strict=True):
        macs, latency = row["macs"] / first["macs"], row["median_ms"] / first["median_ms"]
        accuracy = row["metrics"]["accuracy"]
        yield f"{name} {accuracy:.4f} ({macs:.2f} of the arithmetic, {latency:.2f} of the time)"


def _finish(console: Console, folder: Path, rows: list[tuple[str, str, float, str]], seconds: float) -> None:
    table = Table(title=f"Done in {seconds:.0f} s", title_justify="left", box=None, header_style="bold")
    for heading in ("stage", "what", "seconds", "result"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for stage, what, took, outcome in rows:
        table.add_row(stage, what, f"{took:.1f}", outcome)
    console.print()
    console.print(table)
    results = folder / "results"
    images = results / "inference" / "pictures"
    click.echo(f"\nImages of predictions: {images}")
    click.echo(f"Curves and images:     tensorboard --logdir {results}")
    click.echo(f"Accuracy against time:   {results / 'compare' / 'comparison.png'}")
    click.echo("Your own data:           tao-like classification init FOLDER")
