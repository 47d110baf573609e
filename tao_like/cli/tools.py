"""Commands that belong to no task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tao_like import tasks
from tao_like.cli.byom import byom
from tao_like.cli.jobs import jobs
from tao_like.cli.server import server
from tao_like.cli.specs import specs


@click.command("tasks", short_help="List tasks, their stages and architectures.")
def list_tasks() -> None:
    """Lists tasks, their stages and architectures."""
    for name in tasks.task_names():
        module = tasks.spec_module(name)
        click.echo(click.style(name, bold=True))
        click.echo(f"  stages:        {', '.join(module.STAGES)}")
        click.echo(f"  architectures: {module.ARCHITECTURES}")


@click.command("backbones", short_help="List timm's backbones, and whether weights are at hand.")
@click.argument("pattern", default="*")
@click.option(
    "--offline", is_flag=True, help="Only those whose pretrained weights are at hand without a network."
)
def backbones(pattern: str, offline: bool) -> None:
    """Lists backbones whose name matches PATTERN, such as 'resnet*' or 'efficientnet'."""
    from rich.console import Console
    from rich.table import Table

    from tao_like.networks.backbones.table import backbone_table

    rows = [row for row in backbone_table(pattern) if row.offline or not offline]
    if not rows:
        raise click.UsageError(
            f"No backbone matches '{pattern}'; try tao-like backbones '*{pattern.strip('*')[:6]}*'."
        )
    table = Table(box=None, header_style="bold")
    for title, justify in (
        ("backbone", "left"),
        ("parameters", "right"),
        ("input", "right"),
        ("licence of weights", "left"),
        ("weights at hand", "left"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(
            row.name,
            f"{row.parameters / 1e6:.1f} M",
            str(row.normalization.input_size[-1]),
            row.licence or "-",
            row.offline or ("from the hub" if row.has_weights else "none"),
        )
    Console(width=110 if not Console().is_terminal else None).print(table)
    click.echo(
        f"{len(rows)} backbones. Set model.backbone.type, and model.backbone.pretrained_backbone_path."
    )


@click.command("samples", short_help="Write sample data to try things on.")
@click.argument("name", required=False)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--layout", help="The form of the sample, where it has several; the list says which.")
@click.option("--source", type=click.Path(path_type=Path), help="Folder that it is read from (emoji).")
def samples(name: str | None, folder: Path | None, layout: str | None, source: Path | None) -> None:
    """Writes the sample data NAME into FOLDER; without arguments, lists what there is."""
    from tao_like.samples.catalog import SAMPLES, write_sample

    if name is None:
        for sample in SAMPLES.values():
            click.echo(f"{sample.name:<16} {sample.help}")
            if sample.layouts:
                click.echo(f"{'':<16} --layout {'|'.join(sample.layouts)}")
        return
    if folder is None:
        raise click.UsageError(f"Say where to: tao-like samples {name} FOLDER")
    write_sample(name, folder, layout=layout, source=source)
    click.echo(f"{name} written to {folder}")


@click.command("status", short_help="Say how the stages in a results folder stand.")
@click.argument("results_dir", type=click.Path(path_type=Path))
def status(results_dir: Path) -> None:
    """Says how each stage in RESULTS_DIR ended, or how far it is.

    RESULTS_DIR may hold several results folders, each with its stages: the folder then stands above them. A
    run whose process is gone counts as failed.
    """
    from tao_like.tracking import read_status
    from tao_like.tracking.files import terminal_text

    if not results_dir.is_dir():
        raise click.UsageError(f"There is no folder {results_dir}.")
    found = read_status(results_dir)
    if not found:
        click.echo(f"No stage has run in {results_dir}.")
    colors = {"SUCCESS": "green", "FAILURE": "red"}
    folders = dict.fromkeys(stage.folder.parent for stage in found)
    # Folders in the order of their latest run, so that the last line is the newest.
    latest = {
        folder: max(stage.when.timestamp() for stage in found if stage.folder.parent == folder)
        for folder in folders
    }
    previous = None
    found.sort(
        key=lambda stage: (latest[stage.folder.parent], str(stage.folder.parent), stage.began.timestamp())
    )
    for stage in found:
        if len(folders) > 1 and stage.folder.parent != previous:
            previous = stage.folder.parent
            click.echo(click.style(terminal_text(str(previous)), bold=True))
        word = click.style(f"{stage.status:<8}", fg=colors.get(stage.status, "yellow"))
        figures = ", ".join(f"{name} {value:.4f}" for name, value in list((stage.kpi or {}).items())[:3])
        click.echo(f"{stage.stage:<16} {word} {stage.when:%Y-%m-%d %H:%M}  {terminal_text(stage.message)}")
        if figures:
            click.echo(f"{'':<25} {figures}")


@click.command("doctor", short_help="Show versions and devices, and what is missing.")
def doctor() -> None:
    """Shows versions and devices, and says what is missing and how to get it."""
    from tao_like.cli.doctor import report

    for line in report():
        click.echo(line)


@click.command("completion", short_help="Print the script for shell completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Prints a script that completes commands and spec keys.

    \b
    bash: tao-like completion bash >> ~/.bashrc
    zsh:  tao-like completion zsh >> ~/.zshrc
    fish: tao-like completion fish > ~/.config/fish/completions/tao-like.fish
    """
    from click.shell_completion import get_completion_class

    cli = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "tao-like", "_TAO_LIKE_COMPLETE").source())


@click.command("quickstart", short_help="Run all stages on sample data, in minutes.")
@click.option(
    "-o",
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("quickstart"),
    show_default=True,
    help="Where data and results go.",
)
def quickstart(folder: Path) -> None:
    """Runs all stages on scanned handwritten digits and shows each command that it runs."""
    from tao_like.cli.quickstart import run_quickstart

    run_quickstart(folder, debug=bool((click.get_current_context().obj or {}).get("debug")))


TOOLS: dict[str, Any] = {
    command.name or "": command
    for command in (
        quickstart,
        byom,
        list_tasks,
        backbones,
        specs,
        samples,
        status,
        server,
        jobs,
        doctor,
        completion,
    )
}
