"""Waiting, and commands that stand for a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

PROMISED_SECONDS = 5.0
"""After a server's return, and after the death of a process, states are right within them."""
MARGIN = 4
"""For a machine with other work."""


def wait_for(what: Callable[[], object], seconds: float = PROMISED_SECONDS * MARGIN) -> None:
    """Return once ``what`` holds; fail when it does not come to."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.02)


def python(code: str) -> tuple[str, ...]:
    """The words of a command that runs a few lines of Python."""
    return (sys.executable, "-S", "-c", code)


def until(gate: Path, begun: Path, *, code: int = 0, last: str = "") -> tuple[str, ...]:
    """A command that adds a line to ``begun``, waits for the file ``gate``, and ends."""
    return python(
        "import pathlib, time, os, json, sys\n"
        f"print(os.getpid(), file=open({str(begun)!r}, 'a'), flush=True)\n"
        "print('working', flush=True)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)\n"
        f"{last}\n"
        f"sys.exit({code})"
    )


def pids(begun: Path) -> list[int]:
    """The processes that have begun."""
    return [int(line) for line in begun.read_text().split()] if begun.is_file() else []
