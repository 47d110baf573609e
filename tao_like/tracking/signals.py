"""Signals that end a run: turned into exceptions, and kept waiting where a file must be finished first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(SystemExit):
    """The process was asked to end by a signal; the exit code is the shell's, 128 plus its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal_name = signal.Signals(number).name


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, raise ``Terminated`` inside the block.

    A handler that somebody else has installed stays. SIGINT needs nothing, Python raises KeyboardInterrupt;
    it is put back at the end where a library has changed it. Outside the main thread this does nothing.
    """
    if not _in_main_thread():
        yield
        return
    owner = os.getpid()

    def raise_terminated(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:
            # A forked child has inherited the handler, but has no run to end.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        raise Terminated(number)

    interrupt_handler = signal.getsignal(signal.SIGINT)
    ours = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, raise_terminated)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if interrupt_handler is not None and signal.getsignal(signal.SIGINT) is not interrupt_handler:
            signal.signal(signal.SIGINT, interrupt_handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM waiting until the block is done, so that it is done whole.

    Outside the main thread, where Python delivers no signals, this does nothing.
    """
    if not _in_main_thread():
        yield
        return
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for arrived in received:
            signal.raise_signal(arrived)
