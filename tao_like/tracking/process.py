"""Which process is this, and is that other one still alive?"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process, told apart from every other one that ever had its number.

    Attributes:
        host: name of the machine.
        namespace: number of the Linux PID namespace; containers may share a host name, but not process ids.
        pid: process id.
        start: clock ticks from boot to the start of the process, since process ids are used again.
    """

    host: str
    namespace: int | None
    pid: int
    start: int | None

    def is_alive(self) -> bool | None:
        """Return whether the process runs; None when this cannot be seen from here (another machine)."""
        here = this_process()
        if os.name != "posix" or (self.host, self.namespace) != (here.host, here.namespace):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # It is there and belongs to somebody else.
        state, start = _state_and_start(self.pid)
        if state in ("Z", "X"):
            return False
        return start is None or self.start is None or start == self.start


def this_process() -> Process:
    """Return the process that calls."""
    try:
        namespace: int | None = (_PROC / "self/ns/pid").stat().st_ino
    except OSError:
        namespace = None
    return Process(socket.gethostname(), namespace, os.getpid(), _state_and_start(os.getpid())[1])


def _state_and_start(pid: int) -> tuple[str | None, int | None]:
    """Return the state letter and the start time of a process; None where there is no /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None, None
    # The program's name stands in brackets and may hold spaces and brackets itself. After it come the
    # fields from number 3 (state) on; the start time is number 22 (see `man 5 proc_pid_stat`).
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def is_main_process() -> bool:
    """Return whether this is the process of a parallel run that writes its files: the first one."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"
