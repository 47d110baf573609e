"""Signals that end a run: turned into exceptions, and kept waiting where a file must be finished first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from tao_like.tracking.process import is_main_process


class Terminated(SystemExit):
    """The process was asked to end by a signal; the exit code is the shell's, 128 plus its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal_name = signal.Signals(number).name


class _RaiseTerminated:
    """Handler that raises ``Terminated``; by its type, handlers of this package are told from others'."""

    def __init__(self) -> None:
        self._owner = os.getpid()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # A forked child has inherited the handler, but has no run to end.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        raise Terminated(number)


class StopRequest:
    """A signal that is noted, so that the work can end where it leaves something whole behind.

    Only the first one waits: a second Ctrl-C or SIGTERM ends the process as if nobody had noted the first.

    Attributes:
        number: the signal that came; None: go on.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._armed = False
        self._before: dict[int, Any] = {}

    def arm(self) -> None:
        """Begin to note signals; from any other thread than the main one this does nothing.

        Handlers of others are left in charge. Whoever put one over this package's in the meantime loses it.
        """
        self._armed = True
        self.take_back()

    def disarm(self) -> None:
        """Let signals act at once again."""
        self._armed = False

    def let_die(self) -> None:
        """Have signals end the process at once, without a word, until `take_back`.

        For waiting inside a library, where no handler of Python's runs: processes that wait for one another
        would else outlive Ctrl-C and SIGTERM. The next command on the folder tells of the failure.
        """
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)

    def take_back(self) -> None:
        """End `let_die`."""
        for number in self._before:
            signal.signal(number, self._note)

    def error(self) -> BaseException:
        """What the noted signal would have raised."""
        assert self.number is not None
        return KeyboardInterrupt() if self.number == signal.SIGINT else Terminated(self.number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._armed and self.number is None:
            self.number = number
            if number == signal.SIGINT and is_main_process():
                # Not print: the signal may have come in the midst of another one. Whoever read the output may
                # have ended by the same Ctrl-C.
                with suppress(OSError):
                    os.write(2, b"\nCtrl-C: ending after this step; a second one ends at once\n")
        else:
            self._before[number](number, frame)

    def _install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(number)
            if handler is signal.default_int_handler or isinstance(handler, _RaiseTerminated):
                self._before[number] = handler
                signal.signal(number, self._note)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note the first signal that comes while the request is armed, instead of raising it wherever it hits."""
    request = StopRequest()
    if not _in_main_thread():
        yield request
        return
    request._install()
    try:
        yield request
    finally:
        request._restore()


def leave_signals_to_parent() -> None:
    """For a process that loads data: signals that are sent to all processes are its parent's business.

    The parent still wants its samples, to finish the step that it is in. Its own SIGTERM is obeyed: so
    Python ends the processes that are left when it exits.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # macOS: there SIGTERM ends the process, whoever sends it
        return
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait_for_parent() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait_for_parent, name="signals", daemon=True).start()


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
    interrupt_handler = signal.getsignal(signal.SIGINT)
    ours = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, _RaiseTerminated())
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
