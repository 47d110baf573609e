"""``tao-like byom``: foreign ONNX files as networks that train. Imports no torch before a command runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tao_like import tasks

if TYPE_CHECKING:
    from tao_like.bundle import Bundle
    from tao_like.byom.importing import ImportResult

_SHOWN_ROLES = 3


class SizeType(click.ParamType[str, Any]):
    """``224`` or ``192x640``: height and width in pixels."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Height and width."""
        parts = str(value).lower().split("x")
        if not 1 <= len(parts) <= 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"'{value}' is no size; give 224, or height x width such as 192x640", param, ctx)
        return int(parts[0]), int(parts[-1])


class ShapeType(click.ParamType[str, Any]):
    """``NAME=2x1x64``: the whole shape of an input, the batch included; ``NAME=`` is a single number."""

    name = "name=shape"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name, and the sizes of all axes."""
        name, equals, text = str(value).rpartition("=")
        parts = text.lower().split("x") if text else []
        if not (name and equals) or not all(part.isdigit() and int(part) > 0 for part in parts):
            self.fail(
                f"'{value}' is no shape of an input; give its name and sizes, as in state=2x1x64", param, ctx
            )
        return name, tuple(map(int, parts))


_MODEL = click.option(
    "-m",
    "--onnx_model_file",
    "model",
    required=True,
    type=click.Path(path_type=Path),
    help="The foreign ONNX file.",
)
_SIZE = click.option(
    "--input-size", "size", type=SizeType(), help="Height x width of images, where the file leaves them open."
)
_SHAPES = click.option(
    "--input-shape",
    "shapes",
    type=ShapeType(),
    multiple=True,
    help="Whole shape of an input with the batch, where the file leaves it open: state=2x1x64.",
)
_TIME = click.option(
    "--time-limit",
    type=click.FloatRange(0.0, min_open=True),
    default=900.0,
    show_default=True,
    help="Seconds after which the command gives up: a file may hold a loop without an end.",
)


@click.group(
    "byom",
    short_help="Turn a foreign ONNX file into a network that trains.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
def byom() -> None:
    """Turns a foreign ONNX file into a network that trains."""


@byom.command("inspect", short_help="Show what a file holds, and where it can be cut.")
@_MODEL
@_SIZE
@_SHAPES
@_TIME
def inspect(
    model: Path,
    size: tuple[int, int] | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    time_limit: float,
) -> None:
    """Shows inputs, outputs and operations of a file, and values at which another head can stand."""
    from tao_like.byom.conversion import operation_counts, unknown_operations
    from tao_like.byom.importing import import_file
    from tao_like.byom.limits import limits
    from tao_like.byom.source.graph import graph_of
    from tao_like.byom.source.reading import read_model
    from tao_like.byom.teaching import taught_operations

    graph = graph_of(read_model(model))
    unknown = unknown_operations(graph)
    taught = taught_operations(graph)
    for what, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            kind = graph.type_of(name)
            sizes = ", ".join("?" if one is None else str(one) for one in kind.shape or ())
            click.echo(f"{what:<8} {name}  [{sizes}]  {str(kind.dtype).removeprefix('torch.')}")
    click.echo(f"version of the operators: {', '.join(str(v) for v in graph.opsets.values())}")
    for op, count in sorted(operation_counts(graph).items()):
        mark = click.style("not known", fg="red") if op in unknown else taught.get(op, "yes")
        click.echo(f"  {op:<24} {count:>5}  {mark}")
    if unknown:
        known = sum(operation_counts(graph).values()) - sum(map(len, unknown.values()))
        click.echo(f"{known} nodes can be converted, {sum(map(len, unknown.values()))} cannot.")
        return
    with limits(model, time_limit):
        result = import_file(model, size=size, given_shapes=dict(shapes))
    _show_cuts(result)
    _show_roles(result)


def _show_cuts(result: ImportResult) -> None:
    if not result.cuts:
        click.echo("No value to cut at was found: no pooled features, and no maps at whole strides.")
        return
    click.echo("Values to cut at, as a task chooses them:")
    for cut in result.cuts:
        sizes = " x ".join(str(side) for side in cut.shape[1:])
        click.echo(f"  {cut.what:<16} {sizes:<16} --cut {cut.value}\n    {cut.why}")


def _show_roles(result: ImportResult) -> None:
    click.echo("Values in the file:")
    for role, found in result.report["roles"].items():
        state = "train" if found["trains"] else "stay as they are"
        names = "" if found["trains"] else ": " + _some(list(found["names"]))
        click.echo(f"  {role:<16} {found['values']:>12}  {state}{names}")
    for note in _told_once(result.imported.notes):
        click.echo(f"note: {note}")
    sizes = ", ".join(" x ".join(map(str, shape)) or "a number" for shape in result.shapes.values())
    click.echo(
        f"Largest difference to onnxruntime: {result.largest_difference:.1e} of a channel, at {sizes}."
    )


def _told_once(notes: Sequence[str]) -> list[str]:
    """Notes, of those that differ in names and numbers alone the first few; the report has all."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kind = " ".join(word for word in note.split() if word.isalpha())
        kinds.setdefault(kind, []).append(note)
    told = []
    for alike in kinds.values():
        told += alike[:_SHOWN_ROLES]
        if len(alike) > _SHOWN_ROLES:
            told.append(f"and {len(alike) - _SHOWN_ROLES} more of this kind; --report FILE has all")
    return told


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN_ROLES
    return ", ".join(names[:_SHOWN_ROLES]) + (f" and {more} more" if more > 0 else "")


@byom.command("convert", short_help="Write a file as a bundle that trains.")
@_MODEL
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The bundle to write (.tltb)."
)
@click.option("--task", help="The task that it is for: it is checked that it can be trained there.")
@click.option(
    "--cut",
    help="The value behind which the task's head stands, or three with commas between them for a detector; "
    "`inspect` lists values.",
)
@_SIZE
@_SHAPES
@click.option(
    "--classes", type=click.Path(path_type=Path), help="Class names of the file's own head, one a line."
)
@click.option(
    "--pictures",
    "images",
    type=click.Path(path_type=Path),
    help="An image, or a folder with some, to compare on too; without it, on noise alone.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0.0, 0.1, min_open=True),
    default=1e-4,
    show_default=True,
    help="Difference to onnxruntime that is allowed, as a fraction of a channel's largest value; recorded.",
)
@_TIME
@click.option("--report", type=click.Path(path_type=Path), help="Also write the whole report as JSON.")
def convert(
    model: Path,
    output: Path,
    task: str | None,
    cut: str | None,
    size: tuple[int, int] | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    classes: Path | None,
    images: Path | None,
    tolerance: float,
    time_limit: float,
    report: Path | None,
) -> None:
    """Converts a file, compares it with onnxruntime and writes a bundle.

    \b
    tao-like byom convert -m model.onnx -o model.tltb
    tao-like classification train -e spec.yaml model.backbone.type=byom \\
        model.backbone.pretrained_backbone_path=model.tltb
    """
    import json

    from tao_like.bundle import write_bundle
    from tao_like.byom.importing import import_file, to_bundle
    from tao_like.byom.limits import limits
    from tao_like.byom.proof.images import first_images
    from tao_like.errors import SpecError
    from tao_like.tracking import atomic_path

    if output.suffix != ".tltb":
        raise click.UsageError(f"{output} must end in .tltb, as all bundles do")
    able = {name: getattr(tasks.spec_module(name), "IMPORTED_CUTS", ()) for name in tasks.task_names()}
    able = {name: cuts for name, cuts in able.items() if cuts}
    if task not in (None, *able):
        raise click.UsageError(f"--task {task}: imported networks are trained by {', '.join(able)} alone")
    shown = first_images(images) if images else ()
    names = _read_classes(classes) if classes else []
    with limits(model, time_limit):
        result = import_file(model, size=size, given_shapes=dict(shapes), images=shown, tolerance=tolerance)
        bundle = to_bundle(result, classes=names, cuts=_named(cut, result) if cut else [])
        if task:
            _refuse_untrainable(model, task, able[task], result, bundle)
    try:
        with atomic_path(output) as temporary:
            write_bundle(temporary, bundle)
        if report:
            with atomic_path(report) as temporary:
                temporary.write_text(json.dumps(result.report, indent=1), encoding="utf-8")
    except SpecError as error:
        raise SpecError(f"-o {output}: {error}") from error
    _show_roles(result)
    click.echo(f"Wrote {output}: {result.report['parameters']} values that train.")


def _named(cut: str, result: ImportResult) -> list[str]:
    """The values that --cut names; a comma may also stand in the name of one."""
    if cut in result.imported.value_nodes:
        return [cut]
    names = [part.strip() for part in cut.split(",") if part.strip()]
    if not names:
        raise click.UsageError(f"--cut '{cut}' names no value; `tao-like byom inspect` lists those to cut at")
    return names


def _refuse_untrainable(
    model: Path, task: str, needed: Sequence[str], result: ImportResult, bundle: Bundle
) -> None:
    """Raises where a task could not be trained on a network; tells what it stands on."""
    from tao_like.byom.importing import BATCH, bound_to
    from tao_like.errors import ConversionError
    from tao_like.networks.imported.trial import try_training

    if result.report[BATCH] is not None:
        raise ConversionError(f"{model}: {bound_to(result.report[BATCH])}")
    chosen = [cut for cut in result.cuts if cut.what in needed]
    if not bundle.extra["cut"]:
        found = {cut.what for cut in chosen}
        lacking = [what for what in needed if what not in found]
        if lacking:
            size = " x ".join(map(str, next(iter(result.shapes.values()))))
            raise ConversionError(
                f"{model}: {task} needs {' and '.join(lacking)}, and at {size} no such features were found; "
                "name them with --cut, or give a larger --input-size where the file leaves it open"
            )
    try:
        try_training(bundle, task, needed, next(iter(result.shapes.values())))
    except ConversionError as error:
        raise ConversionError(f"{model}: {error}") from error
    for value in bundle.extra["cut"]:
        click.echo(f"{task} stands on '{value}', named with --cut")
    for cut in () if bundle.extra["cut"] else chosen:
        click.echo(f"{task} stands on {cut.what}: '{cut.value}', {cut.why}")


def _read_classes(path: Path) -> list[str]:
    from tao_like.errors import SpecError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--classes {path} cannot be read: {error}") from error
    return [line.strip() for line in lines if line.strip()]
