"""Writing a spec that was worked out from somebody's data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tao_like.errors import SpecError
from tao_like.spec.annotated import AnnotatedValue, annotated_yaml
from tao_like.spec.loading import load_spec


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raises SpecError where the spec file is there already and shall not be overwritten."""
    if target.exists() and not force:
        raise SpecError(f"{target} is there already; name another file with -o, or overwrite it with --force")


def write_suggested(
    spec_class: type[Any],
    task: str,
    folder: Path,
    target: Path,
    values: Iterable[AnnotatedValue],
    *,
    found: str,
) -> str:
    """Writes a spec file with a reason above each value, and reads it back as a check.

    Args:
        spec_class: of the task.
        task: its name, as the command line has it.
        folder: the data that was looked at.
        target: the spec file.
        values: what differs from the defaults; the folder of the results is put in front.
        found: the data in a few words, such as ``40 pictures, 3 classes``.

    Returns:
        A line that says what was written.

    Raises:
        SpecError: the values do not go together.
    """
    results = AnnotatedValue(
        "results_dir", f"results/{target.stem}", "each stage has a folder of its own in here"
    )
    header = [
        f"Written by `tao-like {task} init {folder}`: {found}.",
        f"Train: tao-like {task} train -e {target.name}",
        f"All keys: tao-like {task} default_specs",
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(annotated_yaml([results, *values], header), encoding="utf-8")
    load_spec(spec_class, target)
    return f"Wrote {target}; the reason for each value stands above it."
