"""Finds a job's files, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tao_like.service.problems import ApiError
from tao_like.stages.lib.folders import is_model


def file_of(results: Path, path: str) -> Path:
    """A file in a job's results. Raises ApiError (404) for whatever is not one, or lies elsewhere."""
    return _found(results, path, Path.is_file)


def model_path(results: Path, path: str) -> Path:
    """A model in a job's results: a file, or the folder of one of several graphs. Raises as `file_of`."""
    return _found(results, path, is_model)


def _found(results: Path, path: str, is_wanted: Callable[[Path], bool]) -> Path:
    missing = ApiError(404, f"the job has no file {path}")
    if "\0" in path:
        raise missing
    root = results.resolve()
    try:
        file = (root / path).resolve()
        known = file.is_relative_to(root) and is_wanted(file)
    except OSError:  # a name that is too long
        known = False
    if not known:
        raise missing
    return file
