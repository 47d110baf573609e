"""Looking at many files at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_MOST_THREADS = 8
ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


def in_threads(look: Callable[[ItemT], FoundT], items: Iterable[ItemT]) -> Iterator[FoundT]:
    """What a function gives for each item, in their order: Pillow lets go of Python's lock while it works."""
    pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        yield from pool.map(look, items)
    finally:
        # Without this, Ctrl-C would wait until all that is queued has been looked at.
        pool.shutdown(cancel_futures=True)
