"""Limits of time and memory for files that anybody may have made: an endless loop ends with a sentence."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 900.0
"""Time that converting a file may take by default."""
_FRACTION = 0.8
"""Of the memory that is free now, what converting a file may take."""
_LEAST = 2 * 2**30
_KILLED = 1


@contextmanager
def limits(path: Path, seconds: float = SECONDS) -> Iterator[None]:
    """Ends the whole process where what is done within takes too long; too much memory is an error within.

    The process is ended because nothing less stops a loop in onnxruntime or torch: meant for a command line,
    which has no other work. What is written within must be written under another name first.

    Args:
        path: of the file, for the sentence.
        seconds: by the clock.
    """

    def end() -> None:
        sys.stderr.write(
            f"Error: {path}: it could not be converted and compared within {seconds:g} seconds; nothing was "
            "written. It may hold a loop without an end; with --time-limit it gets more time\n"
        )
        sys.stderr.flush()
        os._exit(_KILLED)

    before = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space() + _memory()
    if before[1] == resource.RLIM_INFINITY or most < before[1]:
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space() -> int:
    """Bytes of address space that this process has now; libraries take much of it without using it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 0
    return pages * resource.getpagesize()


def _memory() -> int:
    """Bytes that may be taken: most of what is free."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return 64 * 2**30
    return max(int(free * _FRACTION), _LEAST)
