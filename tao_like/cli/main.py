"""The command line's root: finds the command, and turns errors into sentences and exit codes.

Nothing here imports torch: help and a wrong key in a spec answer at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

import tao_like
from tao_like import tasks
from tao_like.cli.tao_words import command_for, option_for
from tao_like.cli.task_commands import TaskGroup
from tao_like.cli.tools import TOOLS
from tao_like.cli.user_modules import OPTION, load_modules, take_modules
from tao_like.errors import TaoLikeError

EPILOG = """\b
Start here:
  tao-like quickstart                          all stages on sample data, in minutes
\b
With your own images:
  tao-like classification init photos          looks at the folder, writes photos.yaml
  tao-like classification train -e photos.yaml
  tao-like classification evaluate -e photos.yaml
  tao-like classification export -e photos.yaml

Any key of the spec can be set behind the command: train.num_epochs=20
model.backbone.type=resnet50. Exit codes: 0 done, 1 failed, 2 the spec, data or command line is wrong,
130 interrupted.
"""


class RootGroup(click.Group):
    """Tasks first, then the tools; a task's commands are made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of tasks and tools."""
        return [*tasks.task_names(), *TOOLS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A task's group, or a tool."""
        if cmd_name in tasks.task_names():
            return TaskGroup(cmd_name)
        return TOOLS.get(cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command. No failure: the reader of a pipe has gone, as in `tao-like backbones | head`."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # What is still to be written, at the end of the process too, goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; a mistyped one is answered with the nearest."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from tao_like.stages.runner import STAGES

            if args[0] in (*STAGES, "init"):
                names = tasks.task_names()
                ctx.fail(
                    f"'{args[0]}' stands behind a task, as in tao-like {names[0]} {args[0]}. "
                    f"Tasks: {', '.join(names)}."
                )
            if command := command_for(args):
                ctx.fail(f"'{' '.join(args[:2])}' is how TAO calls it; here: {command}")
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            ctx.fail(f"There is no command '{args[0]}'.{hint} See tao-like --help.")
        return super().resolve_command(ctx, args)


@click.group(
    cls=RootGroup,
    epilog=EPILOG,
    invoke_without_command=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(tao_like.__version__, prog_name="tao-like")
@click.option("--debug", is_flag=True, help="Show tracebacks. May stand anywhere on the command line.")
@click.option(
    OPTION,
    metavar="FILE",
    help="Run this Python file first: with @converter it teaches byom operations of ONNX. May stand "
    "anywhere, and more than once.",
)
def cli(debug: bool, module: str | None) -> None:
    """Transfer learning for vision from a spec file: train, evaluate, run and export networks."""
    del debug, module  # main() takes them out of the arguments, since they may stand anywhere.


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits."""
    for stream in (sys.stdout, sys.stderr):
        # Under the locale C they take ASCII alone, and no result may be lost for a letter of a message.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    words = [word for word in given if word != "--debug"]
    # Where a spec is checked, nothing may look for updates or weights on the network by itself.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    sys.exit(_run(words, debug))


def _run(words: list[str], debug: bool) -> int:
    """Runs a command; gives the exit code, after saying in a sentence what went wrong."""
    try:
        words, files = take_modules(words)
        load_modules(files)
        cli.main(words, prog_name="tao-like", standalone_mode=False, obj={"debug": debug})
        return 0
    except click.NoSuchOption as error:
        error.show()
        if error.ctx and any(parameter.name == "overrides" for parameter in error.ctx.command.params):
            click.echo(f"Here {option_for(error.option_name)}.", err=True)
        return 2
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted; results of finished steps are kept")
        return 130
    except TaoLikeError as error:
        from tao_like.tracking import failure_message

        if debug:
            traceback.print_exc()
        _say(failure_message(error))
        return error.exit_code
    except SystemExit as error:
        # SIGTERM, which tracking raises as an exit with its code; a job that ran elsewhere and failed, which
        # was said; or click, done with a shell's question.
        code = error.code if isinstance(error.code, int) else 1
        if code == 128 + signal.SIGTERM:
            _say("terminated")
        return code
    except Exception as error:  # The last resort: whatever was not foreseen still gets a sentence.
        from tao_like.tracking import failure_message

        if debug:
            traceback.print_exc()
        hint = "" if debug else " (--debug shows where)"
        _say(failure_message(error) + hint)
        return 1


def _say(message: str) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True)


if __name__ == "__main__":
    main()
