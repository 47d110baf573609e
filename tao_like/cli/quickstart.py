"""The main job from end to end on sample data: each command is shown, and run in this process."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tao_like.spec.shipped import shipped_specs
from tao_like.stages import StageResult, run_stage
from tao_like.stages.results import counted

SPEC = "classification/digits_quickstart.yaml"


def run_quickstart(folder: Path, *, debug: bool) -> None:
    """Runs all stages on the digits; data, spec and results stay in ``folder``."""
    console = Console()
    began = time.monotonic()
    spec = folder / "digits.yaml"
    console.print(f"All stages on scanned handwritten digits, in the folder {folder}.\n", highlight=False)
    _show(console, f"tao-like samples digits {shlex.quote(str(folder / 'digits'))}")
    from tao_like.datasets.samples import write_sample

    write_sample("digits", folder / "digits")
    spec.write_text(_spec_for(folder), encoding="utf-8")
    console.print(f"1,797 pictures, and a spec file: {spec}", highlight=False)
    onnx_file = folder / "results" / "export" / "model.onnx"
    again = folder / "results" / "evaluate_onnx"
    rows: list[tuple[str, str, float, str]] = []
    for stage, overrides in (
        ("dataset_check", []),
        ("train", []),
        ("evaluate", []),
        ("inference", ["inference.explain=true", "inference.max_pictures=24"]),
        ("export", []),
        (
            "evaluate",
            [f"evaluate.checkpoint={onnx_file.as_posix()}", f"evaluate.results_dir={again.as_posix()}"],
        ),
    ):
        words = " ".join(shlex.quote(override) for override in overrides)
        _show(console, f"tao-like classification {stage} -e {shlex.quote(str(spec))} {words}".rstrip())
        started = time.monotonic()
        result = run_stage("classification", stage, spec, overrides, console=console, debug=debug)
        rows.append((stage, _what(stage, overrides), time.monotonic() - started, _outcome(result)))
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


def _what(stage: str, overrides: list[str]) -> str:
    if stage == "evaluate":
        return "model.onnx" if overrides else "model.tltb"
    return ""


def _outcome(result: Any) -> str:
    """What a stage came to, for the table."""
    if result.stage == "dataset_check":
        return f"{counted(result.errors, 'error')}, {counted(result.warnings, 'warning')}"
    if result.stage in ("train", "evaluate"):
        split = "val" if result.stage == "train" else result.report["split"]
        return f"{split} accuracy {result.metrics['accuracy']:.4f}"
    if result.stage == "inference":
        return f"{len(result.rows)} answers"
    assert isinstance(result, StageResult)
    return f"differs from torch by {result.report['largest_difference']:.0e} at most"


def _finish(console: Console, folder: Path, rows: list[tuple[str, str, float, str]], seconds: float) -> None:
    table = Table(title=f"Done in {seconds:.0f} s", title_justify="left", box=None, header_style="bold")
    for heading in ("stage", "model", "seconds", "result"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for stage, what, took, outcome in rows:
        table.add_row(stage, what, f"{took:.1f}", outcome)
    console.print()
    console.print(table)
    pictures = folder / "results" / "inference" / "pictures"
    click.echo(f"\nPictures of predictions: {pictures}")
    click.echo(f"Curves and pictures:     tensorboard --logdir {folder / 'results'}")
    click.echo("Your own data:           tao-like classification init FOLDER")
