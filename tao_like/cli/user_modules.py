"""``--module my_ops.py``: the user's own Python, run because the command line names it; nothing else can."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tao_like.errors import SpecError

OPTION = "--module"


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


def load_modules(files: Sequence[str]) -> None:
    """Runs the user's files, whose converters take the place of those that are built in.

    Raises:
        SpecError: one is no Python file, or fails.
    """
    if not files:
        return
    # What is registered later counts: the operations that are built in come first.
    import tao_like.byom.conversion  # noqa: F401

    for file in files:
        path = Path(file)
        if path.suffix != ".py" or not path.is_file():
            raise SpecError(f"{OPTION} {file}: there is no Python file of this name")
        name = f"tao_like_user_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # the user's own code may fail in every way
            lines = [
                part.lineno
                for part in traceback.extract_tb(error.__traceback__)
                if part.filename == str(path)
            ]
            location = f", line {lines[-1]}" if lines else ""
            raise SpecError(f"{OPTION} {file}{location}: {type(error).__name__}: {error}") from error
