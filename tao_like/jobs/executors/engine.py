"""What Slurm, Kubernetes and Ray have in common: they start the supervisor, and the folder tells the rest."""

from __future__ import annotations

import hashlib
import logging
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tao_like.errors import TaoLikeError
from tao_like.jobs.executors.base import Seen, Submission
from tao_like.jobs.executors.shared import SharedFolder, write_request
from tao_like.jobs.folder import ENGINE_FILE, EXIT_FILE, PROCESS_FILE, STOP_FILE, Exit, JobFolder

SETTLE_SECONDS = 5.0
"""A file that another machine has written may be seen so much later on a shared file system."""
LOOK_SECONDS = 2.0
"""Between two questions to an engine about one job; many people ask the same one."""
_COMMAND_SECONDS = 60.0

logger = logging.getLogger("tao_like.jobs")

Settings = TypeVar("Settings")


class EngineError(TaoLikeError):
    """An engine does not answer, or answers no."""


@dataclass(frozen=True)
class EngineState:
    """Where an engine has a job.

    Attributes:
        stage: ``queued``: it waits; ``running``: a machine has it; ``gone``: it has ended, or is unknown.
        note: what the engine says of it.
    """

    stage: str
    note: str = ""


class EngineExecutor(SharedFolder, ABC, Generic[Settings]):
    """Has an engine start the supervisor.

    The engine is asked for no more than where a job is: how it ended stands in its folder, which all machines
    see. A wish to end goes through the folder too, since the engines' own ways differ in what they kill when.

    Args:
        settings: of the spec, for this engine.
        settle: seconds that a file of another machine may take to be seen.
        look: seconds between two questions about one job.
    """

    name = ""

    def __init__(
        self, settings: Settings, *, settle: float = SETTLE_SECONDS, look: float = LOOK_SECONDS
    ) -> None:
        self._settings, self._settle, self._pause = settings, settle, look
        self._gone: dict[str, float] = {}
        self._looked: dict[str, tuple[float, EngineState]] = {}

    # --- what an engine has to do ---

    @abstractmethod
    def _find(self, name: str) -> str | None:
        """The engine's number for a job of that name; None where there is none. Raises EngineError."""

    @abstractmethod
    def _start(self, submission: Submission, name: str) -> str:
        """Hand a job to the engine; gives its number there. Raises EngineError."""

    @abstractmethod
    def _look(self, reference: str) -> EngineState:
        """Where a job is. Raises EngineError where the engine does not answer."""

    @abstractmethod
    def _end(self, reference: str) -> None:
        """Have the engine end a job and free its machine. Raises EngineError."""

    def _command(self, submission: Submission, name: str) -> list[str]:
        """What the supervisor runs."""
        del name
        return list(submission.command)

    # --- the protocol ---

    def submit(self, submission: Submission) -> None:
        """Hand an attempt to the engine, once."""
        folder, attempt = submission.folder, submission.attempt
        name = job_name(folder, attempt)
        write_request(submission, self._command(submission, name))
        if self.reference(folder, attempt) is not None:
            return
        # One that died between the two may have handed it on already.
        reference = self._find(name) or self._start(submission, name)
        folder.write(ENGINE_FILE, {"attempt": attempt, "engine": self.name, "reference": reference})

    def reference(self, folder: JobFolder, attempt: int) -> str | None:
        """The engine's number for an attempt; None where it has none."""
        known = folder.read(ENGINE_FILE)
        return str(known["reference"]) if known.get("attempt") == attempt else None

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        """How an attempt stands; as long as the engine does not answer, it is taken to go on."""
        if ended := folder.exit(attempt):
            return Seen("ended", ended)
        reference = self.reference(folder, attempt)
        if reference is None:
            return Seen("lost")
        try:
            found = self._look_now_and_then(reference)
        except EngineError as error:
            logger.warning("%s", error)
            found = EngineState("running", str(error))
        if found.stage != "gone":
            self._gone.pop(folder.mark(attempt), None)
            if found.stage == "queued":
                return Seen("queued", note=found.note)
            begun = folder.read(PROCESS_FILE)
            running = begun.get("attempt") == attempt and begun.get("child")
            return Seen("running" if running else "starting", note=found.note)
        return self._after_its_end(folder, attempt, found)

    def _look_now_and_then(self, reference: str) -> EngineState:
        when, found = self._looked.get(reference, (-self._pause, EngineState("gone")))
        if time.monotonic() - when >= self._pause:
            found = self._look(reference)
            self._looked = {**self._looked, reference: (time.monotonic(), found)}
        if found.stage == "gone":
            self._looked.pop(reference, None)
        return found

    def _after_its_end(self, folder: JobFolder, attempt: int, found: EngineState) -> Seen:
        """How a job ended that its engine has no more."""
        first = self._gone.setdefault(folder.mark(attempt), time.monotonic())
        settled = time.monotonic() - first >= self._settle
        ended = folder.exit(attempt)
        stop = folder.read(STOP_FILE)
        if ended is None and settled and stop.get("attempt") == attempt and stop.get("kill"):
            # Its supervisor was ended with it, or never came to be; who ended it knows how.
            now = time.time()
            ended = Exit(attempt, -signal.SIGKILL, folder.read(PROCESS_FILE).get("began", now), now)
            folder.write(EXIT_FILE, vars(ended))
        if ended is not None or settled:
            self._gone.pop(folder.mark(attempt), None)
        if ended is not None:
            return Seen("ended", ended)
        if not settled:
            return Seen("running", note=found.note)
        return Seen("lost", note=f"{self.name} has ended it: {found.note}" if found.note else "")

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        """Ask an attempt to end; ``kill``, or while it waits for a machine: end it."""
        reference = self.reference(folder, attempt)
        if reference is None or folder.exit(attempt):
            return
        waits = False
        if not kill:
            try:
                waits = self._look(reference).stage == "queued"
            except EngineError as error:
                logger.warning("%s", error)
        folder.write(STOP_FILE, {"attempt": attempt, "kill": kill or waits})
        if kill or waits:
            try:
                self._end(reference)
            except EngineError as error:
                logger.warning("%s", error)


def job_name(folder: JobFolder, attempt: int) -> str:
    """The name of an attempt in an engine: the same whenever it is asked for, and no other's."""
    digest = hashlib.sha256(str(folder.path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return f"tao-like-{digest[:12]}-{attempt}"


def torchrun_words(submission: Submission, python: str, address: str, port: str, node: str) -> list[str]:
    """A command under torchrun, on one of several machines.

    The rendezvous is a static one: the first machine is known, and has nothing to find out about its names.

    Args:
        submission: its command begins with Python and ``-m``.
        python: that of the machines.
        address, port: of the first machine; node: number of this one.
    """
    command, placement = list(submission.command), submission.placement
    return [
        python,
        "-m",
        "torch.distributed.run",
        f"--nnodes={placement.nodes}",
        f"--nproc-per-node={placement.processes}",
        f"--node-rank={node}",
        f"--master-addr={address}",
        f"--master-port={port}",
        *command[1:],
    ]


def ask(words: Sequence[str], *, given: str | None = None, install: str = "") -> str:
    """What a program of an engine prints.

    Args:
        words: program and arguments.
        given: its standard input.
        install: what to do where there is no such program.

    Raises:
        EngineError: it is not there, does not answer, or fails: with its own words.
    """
    program = shutil.which(words[0])
    if program is None:
        raise EngineError(f"{words[0]} is not on this machine's PATH; {install}".rstrip("; "))
    try:
        done = subprocess.run(
            [program, *words[1:]], input=given, capture_output=True, text=True, timeout=_COMMAND_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{words[0]} has not answered in {_COMMAND_SECONDS:.0f} s") from None
    except OSError as error:
        raise EngineError(f"{words[0]} cannot be started: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        last = said[-1] if said else f"exit code {done.returncode}"
        raise EngineError(last if last.startswith(f"{words[0]}:") else f"{words[0]}: {last}")
    return done.stdout
