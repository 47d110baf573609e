"""Runs one stage: spec, run folder, the stage's module. No torch is imported before the spec is checked."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tao_like import tasks
from tao_like.config import load_spec, to_yaml
from tao_like.errors import SpecError, TaoLikeError
from tao_like.stages.lib.folders import how_to_resume, keep_earlier_training, stage_folder
from tao_like.stages.results import StageResult
from tao_like.tracking import Run, failure_message, is_main_process

if TYPE_CHECKING:
    from rich.console import Console

    from tao_like.config import LoadedSpec
    from tao_like.config.blocks.common import CommonSpec

STAGES: dict[str, str] = {
    "dataset_convert": "write labels in another format",
    "dataset_check": "look for bad data before hours are spent on it",
    "kmeans": "find anchors that fit the training data; leaves a spec that has them",
    "train": "train a network; leaves a bundle, model.tltb",
    "evaluate": "score a bundle or an ONNX file on labelled data",
    "inference": "run a bundle or an ONNX file on files, and draw the answers",
    "prune": "make a bundle's network narrower; leaves a bundle to train again",
    "export": "write a bundle as an ONNX file, checked against torch",
    "quantize": "make an ONNX file compute in int8; keeps the layers in float that int8 would harm",
    "compare": "put bundles and ONNX files side by side: metrics, size, arithmetic, latency",
}
"""Every stage, in the order of work, with a line for the help."""


def run_stage(
    task: str,
    stage: str,
    spec: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    console: Console | None = None,
    debug: bool = False,
) -> StageResult:
    """Runs a stage of a task.

    Args:
        task: such as ``classification``.
        stage: such as ``train``.
        spec: the spec file; None: the defaults.
        overrides: ``key=value`` texts, as on the command line.
        console: where messages go; None: the terminal.
        debug: keep tracebacks of expected errors in the log.

    Returns:
        The stage's own kind of result.

    Raises:
        TaoLikeError: whatever went wrong, in a sentence.
    """
    _let_threads_sleep_on_a_busy_machine()
    module = tasks.spec_module(task)
    if stage not in module.STAGES:
        raise SpecError(f"There is no stage '{stage}' of {task}. Stages: {', '.join(module.STAGES)}.")
    loaded = _load(task, stage, Path(spec) if spec is not None else None, overrides)
    resolved = loaded.spec
    # A resumed training takes the seed that it was begun with.
    if resolved.train.seed < 0 and not (stage == "train" and resolved.train.resume_training_checkpoint_path):
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise SpecError("train.seed: -1 gives every process another seed; give a number")
        resolved.train.seed = secrets.randbelow(2**31)
    folder = stage_folder(resolved, stage)
    moved = None
    if stage == "train" and is_main_process():
        moved = keep_earlier_training(folder, resolved.train.resume_training_checkpoint_path)
    run = Run(folder, task=task, stage=stage, spec_yaml=to_yaml(resolved), console=console, debug=debug)
    try:
        with run:
            for note in loaded.notes:
                run.info(note)
            if moved:
                run.info(f"The results of an earlier training are kept in {moved}.")
                if hint := how_to_resume(moved):
                    run.info(hint)
            implementation = importlib.import_module(f"tao_like.stages.{stage}")
            result: StageResult = implementation.run(tasks.task_class(task), resolved, run)
            run.report(result.report)
            for line in result.summary:
                run.info(line)
    except TaoLikeError as error:
        # An error from a loading process has that process's traceback in its text.
        if (sentence := failure_message(error)) != str(error):
            raise type(error)(sentence) from error
        raise
    return result


def _load(task: str, stage: str, path: Path | None, overrides: Sequence[str]) -> LoadedSpec[CommonSpec]:
    """The spec; what is wrong with it is said together with whether it is one of another task."""
    try:
        return load_spec(tasks.spec_module(task).Spec, path, overrides)
    except SpecError as error:
        if path is not None and (other := _task_of_spec(path, task)):
            raise SpecError(
                f"{error}\nAs a spec of the task {other} it is right; if that is meant, run: "
                f"tao-like {other} {stage} -e {path}"
            ) from error
        raise


def _task_of_spec(path: Path, task: str) -> str | None:
    """The other task whose spec the file is; None where it is one of ``task``, or of no task at all."""
    for name in (task, *(name for name in tasks.task_names() if name != task)):
        try:
            load_spec(tasks.spec_module(name).Spec, path)
        except SpecError:
            continue
        return name if name != task else None
    return None


def _let_threads_sleep_on_a_busy_machine() -> None:
    """Has torch's threads sleep while they wait, where others want the processors; before torch is imported.

    By default they spin: faster on an idle machine, several times slower beside other work.
    docs/decisions.md has the figures.
    """
    if hasattr(os, "getloadavg") and os.getloadavg()[0] >= (os.cpu_count() or 1):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
