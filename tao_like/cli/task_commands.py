"""The commands of a task: one for each stage, and those that write specs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import click

from tao_like import tasks

AUTOML = "automl"
EXECUTORS = ("local", "slurm", "kubernetes", "ray")
EXAMPLES = {
    AUTOML: [
        "{task} automl -e spec.yaml automl.max_trials=30",
        "{task} automl -e spec.yaml automl.algorithm=asha automl.max_concurrent=2",
    ],
    "dataset_convert": ["{task} dataset_convert -e spec.yaml dataset_convert.results_dir=converted"],
    "dataset_check": ["{task} dataset_check -e spec.yaml"],
    "kmeans": [
        "{task} kmeans -e spec.yaml model.arch=yolo_v4",
        "{task} train -e results/kmeans/spec_with_anchors.yaml",
    ],
    "train": [
        "{task} train -e spec.yaml",
        "{task} train -e spec.yaml train.num_epochs=20 results_dir=runs/long",
        "{task} train -e spec.yaml --executor slurm train.num_gpus=4",
        "{task} train -e spec.yaml train.resume_training_checkpoint_path=results/train/checkpoints/last.ckpt",
    ],
    "evaluate": [
        "{task} evaluate -e spec.yaml",
        "{task} evaluate -e spec.yaml evaluate.checkpoint=results/export/model.onnx",
    ],
    "inference": ["{task} inference -e spec.yaml inference.source=photos/new"],
    "prune": [
        "{task} prune -e spec.yaml prune.target_macs=0.5 prune.steps=4",
        "{task} train -e spec.yaml train.pruned_model_path=results/prune/model.tltb",
    ],
    "export": ["{task} export -e spec.yaml", "{task} export -e spec.yaml export.onnx_file=model.onnx"],
    "quantize": [
        "{task} quantize -e spec.yaml",
        "{task} quantize -e spec.yaml quantize.algorithm=entropy quantize.max_drop=0.005",
    ],
    "compare": [
        "{task} compare -e spec.yaml",
        "{task} compare -e spec.yaml 'compare.checkpoints=[a/model.tltb,b/model.onnx]' compare.max_drop=0.01",
    ],
}


class TaskGroup(click.Group):
    """The commands of a task. Its spec is imported when they are asked for, not to list the tasks."""

    def __init__(self, task: str) -> None:
        description = (importlib.import_module(f"tao_like.tasks.{task}").__doc__ or task).strip()
        super().__init__(
            task,
            help=description,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        )
        self.task = task

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the stages and of what writes specs."""
        self._fill()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of these."""
        self._fill()
        return super().get_command(ctx, cmd_name)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the task does, and its architectures."""
        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Architectures: {tasks.spec_module(self.task).ARCHITECTURES}.")

    def _fill(self) -> None:
        if self.commands:
            return
        stages = tasks.spec_module(self.task).STAGES
        for stage in stages:
            self.add_command(_stage_command(self.task, stage))
        if "train" in stages:
            self.add_command(_stage_command(self.task, AUTOML))
            self.add_command(_dry_run_command(self.task))
        if importlib.util.find_spec(f"tao_like.tasks.{self.task}.init") is not None:
            self.add_command(_init_command(self.task))
        self.add_command(_default_specs_command(self.task))
        self.add_command(_schema_command(self.task))


class OverrideType(click.ParamType[str, str]):
    """``key=value``; completes the keys of the task's spec."""

    name = "key=value"

    def __init__(self, task: str) -> None:
        self.task = task

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The keys that begin as typed."""
        from click.shell_completion import CompletionItem

        from tao_like.config import iter_fields

        spec = tasks.spec_module(self.task).Spec
        return [
            CompletionItem(f"{field.key}=", help=field.help)
            for field in iter_fields(spec)
            if field.key.startswith(incomplete)
        ]


def _stage_command(task: str, stage: str) -> click.Command:
    from tao_like.stages.runner import STAGES

    descriptions = {**STAGES, AUTOML: "search for hyper-parameters; leaves the best spec and its bundle"}

    def run(spec: str | None, overrides: tuple[str, ...], executor: str | None, detach: bool) -> None:
        bare = next(
            (word for word in overrides if word.endswith((".yaml", ".yml")) and "=" not in word), None
        )
        if bare and spec is None:
            raise click.UsageError(f"A spec file is given with -e: tao-like {task} {stage} -e {bare}")
        debug = bool((click.get_current_context().obj or {}).get("debug"))
        if executor is not None:
            overrides = (*overrides, f"execution.executor={executor}")
        if detach or executor is not None or _speaks_of_execution(spec, overrides):
            from tao_like.cli.attached import run_elsewhere

            if run_elsewhere(task, stage, spec, overrides, detach=detach):
                return
        if stage == AUTOML:
            from tao_like.automl.run import run_automl
            from tao_like.cli.user_modules import module_words

            run_automl(task, spec, overrides, options=module_words(), debug=debug)
            return
        from tao_like.stages import run_stage

        run_stage(task, stage, spec, overrides, debug=debug)

    lines = "\n".join(f"  tao-like {example.format(task=task)}" for example in EXAMPLES.get(stage, []))
    what = descriptions.get(stage, stage)
    return click.Command(
        stage,
        callback=run,
        params=[
            click.Option(
                ["-e", "--experiment_spec_file", "spec"],
                type=click.Path(),
                help="The spec file; left out: the defaults.",
            ),
            click.Option(
                ["--executor"],
                type=click.Choice(EXECUTORS),
                help="Where it runs; left out: as the spec's `execution` says, else here.",
            ),
            click.Option(["--detach"], is_flag=True, help="Hand it over, and do not wait for it."),
            click.Argument(["overrides"], nargs=-1, type=OverrideType(task), metavar="[key=value]..."),
        ],
        help=what[0].upper() + what[1:] + ".",
        short_help=what[0].upper() + what[1:] + ".",
        epilog=f"\b\nExamples:\n{lines}" if lines else None,
        context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": False},
    )


def _speaks_of_execution(spec: str | None, overrides: tuple[str, ...]) -> bool:
    """Whether the block `execution` may be given: reading the spec twice takes time that most need not."""
    if any(word.startswith("execution") for word in overrides):
        return True
    try:
        return spec is not None and b"execution" in Path(spec).read_bytes()
    except OSError:
        return False  # whoever reads the spec says so


def _init_command(task: str) -> click.Command:
    @click.command("init", short_help="Look at a folder of data and write a spec that runs.")
    @click.argument("folder", type=click.Path(path_type=Path))
    @click.option(
        "-o", "--output", type=click.Path(path_type=Path), help="The spec to write; left out: FOLDER's name."
    )
    @click.option("--force", is_flag=True, help="Overwrite a spec that is there.")
    @click.argument("overrides", nargs=-1, type=OverrideType(task), metavar="[key=value]...")
    def init(folder: Path, output: Path | None, force: bool, overrides: tuple[str, ...]) -> None:
        """Looks at a folder of data and writes a spec that runs, with the reason beside each value.

        Values that you give as key=value are written in the place of what would be suggested.
        """
        module = importlib.import_module(f"tao_like.tasks.{task}.init")
        # The dot in a folder's name is no beginning of a suffix.
        whole = folder.resolve()
        target = output or Path(f"{whole.stem if whole.is_file() else whole.name}.yaml")
        for line in module.write_spec(folder, target, overrides, force=force):
            click.echo(line)
        given = shlex.quote(str(target))
        click.echo(f"Next: tao-like {task} dataset_check -e {given}")
        click.echo(f"Then: tao-like {task} train -e {given}")

    return init


def _dry_run_command(task: str) -> click.Command:
    @click.command("dry_run", short_help="Say what a spec's network costs here: parameters, memory, time.")
    @click.option(
        "-e",
        "--experiment_spec_file",
        "spec",
        type=click.Path(path_type=Path),
        help="The spec file; left out: the defaults.",
    )
    @click.argument("overrides", nargs=-1, type=OverrideType(task), metavar="[key=value]...")
    def dry_run(spec: Path | None, overrides: tuple[str, ...]) -> None:
        """Builds the network of a spec, runs it on noise, and says what it takes. Writes nothing."""
        from tao_like.stages.dry_run import dry_run as measure

        for line in measure(task, spec, overrides).lines():
            click.echo(line)

    return dry_run


def _default_specs_command(task: str) -> click.Command:
    @click.command("default_specs", short_help="Print the whole spec as commented YAML.")
    def default_specs() -> None:
        """Prints every key of the spec with its default, meaning and range, as YAML."""
        from tao_like.config import default_yaml

        click.echo(default_yaml(tasks.spec_module(task).Spec), nl=False)

    return default_specs


def _schema_command(task: str) -> click.Command:
    @click.command("schema", short_help="Print the spec's JSON schema, for editors.")
    def schema() -> None:
        """Prints the JSON schema of the spec. Editors check and complete a spec file by it."""
        from tao_like.config import json_schema

        click.echo(json.dumps(json_schema(tasks.spec_module(task).Spec), indent=2, ensure_ascii=False))

    return schema
