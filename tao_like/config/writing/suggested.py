"""Writing a spec that was worked out from somebody's data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tao_like.config.loading import load_spec_text
from tao_like.config.structure import join
from tao_like.config.writing.annotated import AnnotatedValue, annotated_yaml
from tao_like.config.writing.plain import to_dict
from tao_like.errors import SpecError

GIVEN = "as it was given to `init`"


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raises SpecError where the spec file is there already and shall not be overwritten."""
    if target.exists() and not force:
        raise SpecError(f"{target} is there already; name another file with -o, or overwrite it with --force")


def given_key(override: str) -> str:
    """The key of a ``key=value`` text, which may stand behind Hydra's plus signs."""
    return override.partition("=")[0].lstrip("+")


def write_suggested(
    spec_class: type[Any],
    task: str,
    folder: Path,
    target: Path,
    values: Iterable[AnnotatedValue],
    overrides: Sequence[str] = (),
    *,
    found: str,
) -> str:
    """Writes a spec file with a reason above each value, after a check that it loads.

    Args:
        spec_class: of the task.
        task: its name, as the command line has it.
        folder: the data that was looked at.
        target: the spec file.
        values: what differs from the defaults; the folder of the results is put in front.
        overrides: ``key=value`` texts of the user's; they take the location of what was worked out.
        found: the data in a few words, such as ``40 images, 3 classes``.

    Returns:
        A line that says what was written.

    Raises:
        SpecError: an override is wrong, or the values do not go together; nothing is written.
    """
    results = AnnotatedValue(
        "results_dir", f"results/{target.stem}", "each stage has a folder of its own in here"
    )
    header = [
        f"Written by `tao-like {task} init {folder}`: {found}.",
        f"Train: tao-like {task} train -e {target.name}",
        f"All keys: tao-like {task} default_specs",
    ]
    chosen = {item.key: item for item in (results, *values)}
    text = annotated_yaml(chosen.values(), header)
    suggested = load_spec_text(spec_class, text, target).spec
    if overrides:
        wanted = load_spec_text(spec_class, text, target, overrides).spec
        for key, value in _changed(to_dict(suggested), to_dict(wanted)):
            chosen[key] = AnnotatedValue(key, value, GIVEN)
        text = annotated_yaml(chosen.values(), header)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return f"Wrote {target}; the reason for each value stands above it."


def _changed(
    before: Mapping[str, Any], after: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Any]]:
    """The dotted keys whose values differ, with the values after; a list is one value."""
    for name, value in after.items():
        key, former = join(path, name), before.get(name)
        if isinstance(value, dict) and isinstance(former, dict):
            yield from _changed(former, value, key)
        elif value != former:
            yield key, value
