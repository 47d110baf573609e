"""What every executor does. They share the job's folder, so how a job ended is found in one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tao_like.jobs.folder import Exit, JobFolder

State = Literal["starting", "running", "ended", "lost"]


@dataclass(frozen=True)
class Submission:
    """An attempt of a job.

    Attributes:
        folder: the job's folder; its ``log.txt`` gets the outputs.
        attempt: from 1; an executor runs each once.
        command: words; environment: variables beside those that the executor has.
        cwd: the working folder.
    """

    folder: JobFolder
    attempt: int
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = field(default_factory=Path.cwd)


@dataclass(frozen=True)
class Seen:
    """How an attempt stands: ``lost`` has neither a process nor a word of how it ended."""

    state: State
    exit: Exit | None = None


class Executor(Protocol):
    """Runs commands as jobs."""

    name: str

    def submit(self, submission: Submission) -> None:
        """Start an attempt; returns before it has ended. The same one submitted again does nothing more."""

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        """How an attempt stands."""

    def logs(self, folder: JobFolder, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """What the job has written, from a byte on."""

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        """Ask an attempt to end, or with ``kill`` end it and all that it has started."""

    def files(self, folder: JobFolder) -> list[Path]:
        """The files that the job has left in its results, as paths within them."""
