"""torch's threads beside other programs.

libgomp's threads spin while they wait for one another. On an idle machine that is fastest. Beside another
busy program a spinning thread takes the processor from the one that it waits for, and a step lasts several
times as long. docs/decisions.md has the figures.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tao_like.runtime.other_programs import ONE_BUSY, SINCE_IMPORT, OtherPrograms, allowed_processors

LOOK_EVERY = 1.0
"""Seconds between two looks at the other programs."""
QUIET = 0.2
"""Below so many busy processors, others are taken to have stopped."""
_SHARED_WORK = 1_000_000
"""Elements that torch adds by several threads."""


def threads_beside(others: float, threads: int, processors: int) -> int:
    """How many threads to begin with: a processor is left to each one that others keep busy.

    Args:
        others: processors that others keep busy.
        threads: torch's choice.
        processors: that this process may use.
    """
    free = processors - int(others + 1 - ONE_BUSY)
    return max(1, min(threads, free))


@contextmanager
def threads_for_this_machine() -> Iterator[str | None]:
    """Threads of torch for the length of a stage, chosen once; how they wait is watched until the end.

    The number decides the order of sums, so it must not change within a training. Where the user has set
    ``OMP_NUM_THREADS``, or a launcher did for several processes, it stays.

    Yields:
        What to tell the user; None: nothing.
    """
    before = torch.get_num_threads()
    note = None
    if "OMP_NUM_THREADS" not in os.environ and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        others, count = SINCE_IMPORT.processors(), len(allowed_processors())
        threads = threads_beside(others, before, count)
        if threads < before:
            torch.set_num_threads(threads)
            note = (
                f"Other programs keep {others:.1f} of {count} processors busy: torch computes with "
                f"{threads} thread{'s' if threads > 1 else ''}; OMP_NUM_THREADS={before} would take all"
            )
    watch = _Watch() if before > 1 else None
    try:
        yield note
    finally:
        if watch is not None:
            watch.stop()
        torch.set_num_threads(before)


def take_threads_again(threads: int | None) -> str | None:
    """Goes on with as many threads as a resumed training had, as far as this machine has processors.

    Args:
        threads: None: it is not known.

    Returns:
        What to tell the user; None: nothing.
    """
    if threads is None or "OMP_NUM_THREADS" in os.environ:
        return None
    threads = min(threads, len(allowed_processors()))
    if threads == torch.get_num_threads():
        return None
    torch.set_num_threads(threads)
    return f"torch computes with {threads} thread{'s' if threads > 1 else ''}, as the training did before"


class _Watch(threading.Thread):
    """Has torch's threads wait asleep for as long as other programs need a processor."""

    def __init__(self) -> None:
        super().__init__(name="tao-like-other-programs", daemon=True)
        self._others = OtherPrograms()
        self._over = threading.Event()
        self._team: _SecondTeam | None = None
        self.start()

    def run(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            others = self._others.processors()
            if self._team is None and others >= ONE_BUSY:
                self._team = _SecondTeam()
            elif self._team is not None and others < QUIET:
                self._team.dissolve()
                self._team = None

    def stop(self) -> None:
        """Ends it, and lets torch's threads spin again."""
        self._over.set()
        self.join()
        if self._team is not None:
            self._team.dissolve()


class _SecondTeam(threading.Thread):
    """Threads of libgomp's that wait for work which never comes.

    While a process has more of libgomp's threads than processors, libgomp has all of them spin for a short
    while only before they sleep (``gomp_throttled_spin_count_var``, config/linux/wait.h of libgomp). It reads
    the environment variables that say so only once, when it is loaded; this is the way to say it later, and
    to take it back. With another OpenMP library it does nothing.
    """

    def __init__(self) -> None:
        super().__init__(name="tao-like-second-team", daemon=True)
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        torch.ones(_SHARED_WORK).add_(1)
        self._over.wait()

    def dissolve(self) -> None:
        """Ends them."""
        self._over.set()
        self.join()
