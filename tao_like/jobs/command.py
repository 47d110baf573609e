"""What a job's process is told to do: the ordinary command line, with a spec that the job's folder holds."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_like.config.writing.yaml_text import dump
from tao_like.jobs.executors.base import Placement, Submission
from tao_like.jobs.folder import JobFolder
from tao_like.stages.lib.folders import LAST_CHECKPOINT, RESUME_KEY, checkpoint_folders
from tao_like.tracking import EVENTS_FILE_VARIABLE

RESUMABLE = ("train", "automl")
"""Actions that can go on where they were stopped."""


def submission(
    folder: JobFolder,
    attempt: int,
    task: str,
    action: str,
    spec: Mapping[str, Any],
    *,
    command: Sequence[str] = (),
    options: Sequence[str] = (),
    resume: bool = False,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    placement: Placement | None = None,
) -> Submission:
    """An attempt that runs a stage; writes its spec into the folder.

    Args:
        folder: the job's.
        attempt: from 1.
        task, action: the command; spec: the keys that are given.
        command: other words to run in its place.
        options: further options of the ordinary command line, such as ``--module FILE``.
        resume: go on from the last checkpoint, where there is one.
        environment: further variables.
        cwd: the working folder; None: the job's.
        placement: machines and devices; None: one process on one machine.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    words = list(command)
    if not words:
        write_spec(folder, spec)
        words = [sys.executable, "-m", "tao_like.cli", task, action, "-e", str(folder.spec), *options]
        checkpoint = last_checkpoint(folder) if resume and action == "train" else None
        if checkpoint is not None:
            words.append(f"{RESUME_KEY}={checkpoint}")
    variables = {EVENTS_FILE_VARIABLE: str(folder.events), "PYTHONUNBUFFERED": "1", **(environment or {})}
    return Submission(folder, attempt, words, variables, cwd or folder.path, placement or Placement())


def write_spec(folder: JobFolder, spec: Mapping[str, Any]) -> None:
    """Write a job's spec file; its results go into the job's folder."""
    content = copy.deepcopy(dict(spec))
    content["results_dir"] = str(folder.results)
    temporary = folder.spec.with_suffix(".partial")
    temporary.write_text(dump(content), encoding="utf-8")
    temporary.replace(folder.spec)


def last_checkpoint(folder: JobFolder) -> Path | None:
    """The newest checkpoint that a training in the job's folder can go on from."""
    found = [one / LAST_CHECKPOINT for one in checkpoint_folders(folder.results / "train")]
    there = [path for path in found if path.is_file()]
    return max(there, key=lambda path: path.stat().st_mtime, default=None)
