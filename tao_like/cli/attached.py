"""A stage that runs where the spec or `--executor` says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

AUTOML = "automl"


def run_elsewhere(task: str, stage: str, spec: str | None, overrides: Sequence[str], *, detach: bool) -> bool:
    """Have an executor run a stage, and follow it; whether that was asked for, else it is to run here.

    A search runs here and hands its trials over, but where it is to go on by itself.

    Raises:
        TaoLikeError: spec or engine are in the way. SystemExit: with the code of a stage that failed.
    """
    from rich.console import Console

    from tao_like import tasks
    from tao_like.cli.user_modules import module_words
    from tao_like.config import load_spec
    from tao_like.jobs.attached import begin, follow

    file = Path(spec) if spec is not None else None
    loaded = load_spec(tasks.spec_module(task).Spec, file, overrides)
    where = loaded.spec.execution.executor
    if not detach and (stage == AUTOML or where == "local"):
        return False
    console = Console()
    job = begin(task, stage, loaded.spec, file, [*overrides, *module_words()])
    location = "this machine" if where == "local" or stage == AUTOML else where
    click.echo(f"{task} {stage} is with {location}; its job's folder is {job.folder.path}")
    if detach:
        click.echo(f"Follow it: tao-like jobs attach {job.folder.path}")
        click.echo(f"End it:    tao-like jobs cancel {job.folder.path}")
        return True
    if code := follow(job, console):
        raise SystemExit(code)
    return True
