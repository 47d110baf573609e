"""What every executor does. They share the job's folder, so how a job ended is found in one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tao_like.jobs.folder import Exit, JobFolder

State = Literal["queued", "starting", "running", "ended", "lost"]


@dataclass(frozen=True)
class Placement:
    """What an attempt needs.

    Attributes:
        nodes: machines; each runs the same command under torchrun where there are several.
        processes: that torchrun starts on each of them.
        gpus: of each machine; 0: it computes on the CPU.
    """

    nodes: int = 1
    processes: int = 1
    gpus: int = 0


@dataclass(frozen=True)
class Submission:
    """An attempt of a job.

    Attributes:
        folder: the job's folder; its ``log.txt`` gets the outputs.
        attempt: from 1; an executor runs each once.
        command: words; environment: variables beside those that the executor has.
        cwd: the working folder.
        placement: machines and devices.
    """

    folder: JobFolder
    attempt: int
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = field(default_factory=Path.cwd)
    placement: Placement = Placement()


@dataclass(frozen=True)
class Seen:
    """How an attempt stands.

    Attributes:
        state: ``queued``: an engine has it, and no machine yet; ``lost``: it has neither a process nor a word
            of how it ended.
        exit: of one that has ended.
        note: what the engine says of it: why it waits, or why it is gone.
    """

    state: State
    exit: Exit | None = None
    note: str = ""


class Executor(Protocol):
    """Runs commands as jobs."""

    name: str

    def submit(self, submission: Submission) -> None:
        """Start an attempt; returns before it has ended. The same one submitted again does nothing more.

        Raises:
            OSError: the folder cannot be written.
            TaoLikeError: the engine does not take it, in its own words.
        """

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        """How an attempt stands."""

    def logs(self, folder: JobFolder, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """What the job has written, from a byte on."""

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        """Ask an attempt to end, or with ``kill`` end it and all that it has started."""

    def files(self, folder: JobFolder) -> list[Path]:
        """The files that the job has left in its results, as paths within them."""
