"""Transfer learning for vision from a spec file: train, evaluate, run and export networks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from tao_like.stages.results import StageResult
    from tao_like.tracking import Events

# From 1.29 on onnxruntime's wheels tell their maker what they run, unless this is set before they are loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def run(
    task: str,
    stage: str,
    spec: str | Path | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    quiet: bool = False,
    events: Events | None = None,
) -> StageResult:
    """Runs a stage, as ``tao-like <task> <stage> -e spec key=value ...`` does.

    The process is left as it was: environment variables, warning filters, levels of loggers, signal
    handlers, random states. Only ``ORT_DISABLE_TELEMETRY``, which importing this package sets, stays.

    Args:
        task: such as ``classification``.
        stage: such as ``train``.
        spec: the spec file, or a mapping with its keys: ``{"train": {"num_epochs": 5}}``; None: the defaults.
        overrides: ``key=value`` texts, such as ``"train.num_epochs=5"``.
        quiet: print nothing; the log is in the run's folder all the same.
        events: listens to the run: log, progress, metrics, figures, status. See ``tao_like.tracking.Events``.

    Returns:
        The stage's result: ``TrainResult`` has ``.bundle`` and ``.metrics``, ``ExportResult`` has
        ``.onnx_file``, and so on; every one has ``.folder`` and ``.report``.

    Raises:
        TaoLikeError: whatever went wrong, in a sentence, and in ``problems`` one by one.
    """
    from rich.console import Console

    from tao_like.stages import run_stage

    console = Console(quiet=True) if quiet else None
    return run_stage(task, stage, spec, overrides, console=console, events=events)
