"""Finds a job's files, and nothing else."""

from __future__ import annotations

from pathlib import Path

from tao_like.service.problems import ApiError


def file_of(results: Path, path: str) -> Path:
    """A file in a job's results. Raises ApiError (404) for whatever is not one, or lies elsewhere."""
    missing = ApiError(404, f"the job has no file {path}")
    if "\0" in path:
        raise missing
    root = results.resolve()
    try:
        file = (root / path).resolve()
        known = file.is_relative_to(root) and file.is_file()
    except OSError:  # a name that is too long
        known = False
    if not known:
        raise missing
    return file
