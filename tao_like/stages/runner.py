"""Runs one stage: spec, run folder, the stage's module. No torch is imported before the spec is checked."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_like import tasks
from tao_like.config import load_spec, to_yaml
from tao_like.errors import SpecError, TaoLikeError
from tao_like.runtime import other_programs  # noqa: F401 - it counts from here on
from tao_like.stages.lib.folders import how_to_resume, keep_earlier_training, stage_folder
from tao_like.stages.results import StageResult
from tao_like.tracking import (
    Events,
    Run,
    event_file,
    failure_message,
    folder_lock,
    is_main_process,
    process_state_kept,
)

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
    "inference": "run a bundle or an ONNX file on files, and draw the predictions",
    "prune": "make a bundle's network narrower; leaves a bundle to train again",
    "export": "write a bundle as an ONNX file, checked against torch",
    "quantize": "make an ONNX file compute in int8; keeps the layers in float that int8 would harm",
    "compare": "put bundles and ONNX files side by side: metrics, size, arithmetic, latency",
}
"""Every stage, in the order of work, with a line for the help."""

_LARGEST_GUESSED = 50_000
"""Bytes of a wrong spec file that is tried as one of each other task."""


def run_stage(
    task: str,
    stage: str,
    spec: str | Path | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    *,
    console: Console | None = None,
    debug: bool = False,
    events: Events | None = None,
) -> StageResult:
    """Runs a stage of a task, and leaves the process as it was.

    Args:
        task: such as ``classification``.
        stage: such as ``train``.
        spec: the spec file, or a mapping with its keys; None: the defaults.
        overrides: ``key=value`` texts, as on the command line.
        console: where messages go; None: the terminal.
        debug: keep tracebacks of expected errors in the log.
        events: listens to the run.

    Returns:
        The stage's own kind of result.

    Raises:
        TaoLikeError: whatever went wrong, in a sentence.
    """
    with process_state_kept():
        module = tasks.spec_module(task)
        if stage not in module.STAGES:
            raise SpecError(f"There is no stage '{stage}' of {task}. Stages: {', '.join(module.STAGES)}.")
        given = Path(spec) if isinstance(spec, (str, os.PathLike)) else spec
        loaded = _load(task, stage, given, overrides)
        resolved = loaded.spec
        # A resumed training takes the seed that it was begun with.
        if resolved.train.seed < 0 and not (
            stage == "train" and resolved.train.resume_training_checkpoint_path
        ):
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise SpecError("train.seed: -1 gives every process another seed; give a number")
            resolved.train.seed = secrets.randbelow(2**31)
        run = Run(
            stage_folder(resolved, stage),
            task=task,
            stage=stage,
            spec_yaml=to_yaml(resolved),
            console=console,
            debug=debug,
            events=[listener for listener in (events, event_file()) if listener is not None],
        )
        try:
            return _run_in_folder(run, task, stage, loaded)
        except TaoLikeError as error:
            # An error from a loading process has that process's traceback in its text.
            if (sentence := failure_message(error)) != str(error):
                told = [problem for problem in error.problems if problem.text != str(error)]
                raise type(error)(sentence, problems=told) from error
            raise


def _run_in_folder(run: Run, task: str, stage: str, loaded: LoadedSpec[CommonSpec]) -> StageResult:
    """The stage itself, in its run folder, which it alone writes to."""
    resolved, moved = loaded.spec, None
    with ExitStack() as scope:
        # Another run must not come in between the move of an earlier training and the claim.
        with folder_lock(run.folder) if is_main_process() else nullcontext():
            if stage == "train" and is_main_process():
                moved = keep_earlier_training(run.folder, resolved.train.resume_training_checkpoint_path)
            scope.enter_context(run)
        for note in loaded.notes:
            run.info(note)
        if moved:
            run.info(f"The results of an earlier training are kept in {moved}.")
            if hint := how_to_resume(moved):
                run.info(hint)
        implementation = importlib.import_module(f"tao_like.stages.{stage}")
        from tao_like.stages.lib.threads import threads_for_this_machine  # torch is there by now

        if on_threads := scope.enter_context(threads_for_this_machine()):
            run.info(on_threads)
        result: StageResult = implementation.run(tasks.task_class(task), resolved, run)
        run.report(result.report)
        for line in result.summary:
            run.info(line)
        if result.failure is not None:
            raise result.failure
    return result


def _load(
    task: str, stage: str, given: Path | Mapping[str, Any] | None, overrides: Sequence[str]
) -> LoadedSpec[CommonSpec]:
    """The spec; what is wrong with it is said together with whether it is one of another task."""
    try:
        return load_spec(tasks.spec_module(task).Spec, given, overrides)
    except SpecError as error:
        if given is not None and (other := _task_of_spec(given, task)):
            file = given if isinstance(given, Path) else "SPEC"
            raise SpecError(
                f"{error}\nAs a spec of the task {other} it is right; if that is meant, run: "
                f"tao-like {other} {stage} -e {file}",
                problems=error.problems,
            ) from error
        raise


def _task_of_spec(given: Path | Mapping[str, Any], task: str) -> str | None:
    """The other task whose spec this is; None where it is one of ``task``, or of no task at all."""
    if isinstance(given, Path) and (not given.is_file() or given.stat().st_size > _LARGEST_GUESSED):
        return None
    for name in (task, *(name for name in tasks.task_names() if name != task)):
        try:
            load_spec(tasks.spec_module(name).Spec, given)
        except SpecError:
            continue
        return name if name != task else None
    return None
