"""The ready spec files: what there is, and a copy to change."""

from __future__ import annotations

from pathlib import Path

import click

from tao_like.config.shipped import shipped_spec_files


def _purpose(path: Path) -> str:
    """The first line of a spec's header."""
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


@click.group("specs", short_help="List the ready spec files, or copy some to change them.")
def specs() -> None:
    """Lists the ready spec files, or copies some to change them.

    \b
    tao-like specs list
    tao-like specs copy classification/small_data .

    A spec of yours can also begin with one: `defaults: [classification/small_data]`, and only what is to be
    different below it.
    """


@specs.command("list", short_help="List the ready spec files and what each is for.")
@click.argument("task", required=False)
def list_specs(task: str | None) -> None:
    """Lists the ready spec files, all or those of TASK."""
    found = {name: path for name, path in shipped_spec_files().items() if task in (None, name.split("/")[0])}
    if not found:
        tasks = sorted({name.split("/")[0] for name in shipped_spec_files()})
        raise click.UsageError(f"There are no specs of '{task}'; there are some of {', '.join(tasks)}.")
    width = max(map(len, found))
    for name, path in found.items():
        click.echo(f"{name:<{width}}  {_purpose(path)}")


@specs.command("copy", short_help="Copy ready spec files into a folder.")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def copy_specs(name: str, folder: Path) -> None:
    """Copies the ready spec NAME, or all of a task's, into FOLDER (here, unless said).

    A file that is already there stays as it is, and nothing is copied.
    """
    known = shipped_spec_files()
    chosen = [
        path for spec, path in known.items() if name.removesuffix(".yaml") in (spec, spec.split("/")[0])
    ]
    if not chosen:
        import difflib

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"There is no spec '{name}'.{hint} See tao-like specs list.")
    targets = [folder / path.name for path in chosen]
    if taken := [target for target in targets if target.exists()]:
        raise click.UsageError(f"{taken[0]} is there already; move it, or name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for path, target in zip(chosen, targets, strict=True):
        target.write_bytes(path.read_bytes())
        click.echo(f"{target}  {_purpose(path)}")
