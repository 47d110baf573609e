"""The processes of a job: telling them from others that bear their number, finding and ending them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_like.tracking.process import Process, this_process

MARK = "TAO_LIKE_JOB"
"""The environment variable that every process of a job inherits: its folder and the attempt, a line each for
the job and for those that have started it."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessRecord:
    """A process as it stands in a file: of this boot of this machine, with its number and start."""

    process: Process
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessRecord:
        """The process that has a number now."""
        here = this_process()
        return cls(Process(here.host, here.namespace, pid, start_ticks(pid)), boot_id())

    @classmethod
    def read(cls, fields: Any) -> ProcessRecord | None:
        """From plain values; None where they are none."""
        try:
            process = Process(fields["host"], fields["namespace"], fields["pid"], fields["start"])
            return cls(process, fields["boot_id"])
        except (KeyError, TypeError):
            return None

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self.process), "boot_id": self.boot_id}

    def is_alive(self) -> bool:
        """Whether it runs. A process of another machine, or of before a reboot, does not."""
        return self.boot_id == boot_id() and bool(self.process.is_alive())


def boot_id() -> str:
    """What changes with every start of the machine; empty where the system has no such thing."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None where it cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def marked(mark: str) -> Iterator[int]:
    """The processes that bear a job's mark, whatever session they have moved to."""
    wanted = os.fsencode(mark)
    start = f"{MARK}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        marks = [one[len(start) :] for one in environment.split(b"\0") if one.startswith(start)]
        if any(wanted in one.split(b"\n") for one in marks) and int(folder.name) != os.getpid():
            yield int(folder.name)


def end_group(pid: int, number: int) -> None:
    """Send a signal to a process and to all that it started in its session's group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def end_marked(mark: str) -> int:
    """End what is left of a job, at once; gives the number of processes."""
    ended = 0
    # Twice: one of them may have started another meanwhile.
    for _ in range(2):
        for pid in list(marked(mark)):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                ended += 1
    return ended
