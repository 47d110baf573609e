"""``--module my_ops.py``: the user's own Python, run because the command line names it; nothing else can."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from tao_like.errors import SpecError

OPTION = "--module"
_loaded: list[str] = []


def take_modules(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without ``--module FILE``, which may stand anywhere, and the files.

    Raises:
        SpecError: the option is the last word.
    """
    left, files = [], []
    waiting = iter(words)
    for word in waiting:
        if word == OPTION:
            file = next(waiting, None)
            if file is None:
                raise SpecError(f"{OPTION} names a Python file, as in {OPTION} my_ops.py")
            files.append(file)
        elif word.startswith(f"{OPTION}="):
            files.append(word.removeprefix(f"{OPTION}="))
        else:
            left.append(word)
    return left, files


def module_words() -> list[str]:
    """The options that name the files of this command line again, for a process that goes on with it."""
    return [word for file in _loaded for word in (OPTION, file)]


def load_modules(files: Sequence[str]) -> None:
    """Runs the user's files, whose converters take the place of those that are built in.

    Raises:
        SpecError: one is no Python file, or fails.
    """
    _loaded[:] = []
    if not files:
        return
    # A file that asks for torch loads it anyhow.
    from tao_like.byom.building.registry import count_taught

    for number, file in enumerate(files):
        path = Path(file)
        if path.suffix != ".py" or not path.is_file():
            raise SpecError(f"{OPTION} {file}: there is no Python file of this name")
        before = count_taught()
        _run(file, f"tao_like_user_{number}_{path.stem}")
        if count_taught() == before:
            click.echo(f"note: {OPTION} {file} teaches no operation: nothing in it has @converter", err=True)
        _loaded.append(str(path.absolute()))


def _run(file: str, name: str) -> None:
    """Runs one file as a module."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's own code may fail in every way
        steps = traceback.extract_tb(error.__traceback__)
        lines = [step.lineno for step in steps if step.filename == spec.origin]
        line = f", line {lines[-1]}" if lines else ""
        raise SpecError(f"{OPTION} {file}{line}: {type(error).__name__}: {error}") from error
