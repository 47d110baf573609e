"""How busy other programs keep the processors, as Linux counts it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
SHORTEST = 0.2
"""Seconds; Linux counts in hundredths, so that a shorter time says little."""
LONGEST = 10.0
"""Seconds; a mean over longer says little of now."""


@dataclass(frozen=True)
class Reading:
    """What the processors have done since the machine was started.

    Attributes:
        at: seconds of a clock that only goes forward.
        busy: processor seconds of all programs, and those that a virtual machine's host took away.
        own: processor seconds of this process, its children not counted.
    """

    at: float
    busy: float
    own: float


def allowed_processors() -> list[int]:
    """Numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def read_processors(stat: Path = STAT) -> Reading | None:
    """Reads the counters of the processors that this process may use.

    Args:
        stat: a file as ``/proc/stat``, see proc(5): user, nice, system, idle, iowait, irq, softirq, steal.

    Returns:
        None where the system has no such file.
    """
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    names = {f"cpu{number}" for number in allowed_processors()}
    ticks = 0
    for line in lines:
        name, *counts = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, *rest = map(int, counts[:8])
            ticks += user + nice + system + sum(rest)
    return Reading(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time())


class OtherPrograms:
    """Watches how many processors other programs use, this process's children among them."""

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._last = read_processors(stat)
        self._known = 0.0
        self._lock = threading.Lock()

    def processors(self) -> float:
        """Processors that others kept busy, in the mean since the last call; 0 where that cannot be known.

        A call too soon after another gets what that one got; one that comes long after it takes a moment to
        look.
        """
        with self._lock:
            now, last = read_processors(self._stat), self._last
            if now is not None and last is not None and now.at - last.at > LONGEST:
                last = now
                time.sleep(SHORTEST)
                now = read_processors(self._stat)
            if now is None or last is None:
                self._last = now
                return self._known
            seconds = now.at - last.at
            if seconds >= SHORTEST:
                others = (now.busy - last.busy) - (now.own - last.own)
                self._known = max(0.0, others / seconds)
                self._last = now
            return self._known


SINCE_IMPORT = OtherPrograms()
"""Counts from when the toolkit was imported, so that the first call already knows."""
ONE_BUSY = 0.5
"""Above so many processors, others are taken to need one."""
