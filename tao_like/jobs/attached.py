"""A stage that the command line hands to an executor, and follows as if it ran in its own process."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tao_like.config import spec_from_dict, to_dict
from tao_like.config.blocks.common import CommonSpec
from tao_like.errors import SpecError, TaoLikeError
from tao_like.jobs import told
from tao_like.jobs.command import submission
from tao_like.jobs.executors import Executor, LocalExecutor, executor_of
from tao_like.jobs.folder import JobFolder
from tao_like.jobs.placement import placement_of
from tao_like.tracking.listeners import ConsoleMessages
from tao_like.tracking.progress import ProgressDisplay

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

JOBS = "jobs"
ATTEMPT = 1
AUTOML = "automl"
_ABOUT_FILE = "about.json"
_PAUSE_SECONDS = 0.3
_LINE_SECONDS = 30.0


@dataclass(frozen=True)
class AttachedJob:
    """A stage that an executor has: the job's folder, and the executor."""

    folder: JobFolder
    executor: Executor

    @classmethod
    def read(cls, path: Path) -> AttachedJob | None:
        """The job of a folder; None where it is the folder of none."""
        folder = JobFolder(path.absolute())
        about = folder.read(_ABOUT_FILE)
        if not about:
            return None
        spec = spec_from_dict(CommonSpec, {"execution": about["execution"]}, source=str(path)).spec
        local = about["stage"] == AUTOML
        return cls(folder, LocalExecutor() if local else executor_of(spec.execution))

    def state(self) -> str:
        """Where it stands, in a sentence."""
        seen = self.executor.status(self.folder, ATTEMPT)
        if seen.state == "ended" and seen.exit is not None:
            return "done" if seen.exit.code == 0 else f"failed: {self.failure()} (exit code {seen.exit.code})"
        told_last = told.progress(self.folder, {}).get("message", "")
        parts = [seen.state, seen.note, told_last if seen.state == "running" else ""]
        return ": ".join(part for part in parts if part)

    def failure(self) -> str:
        """Why it failed, in its own words or the last ones of its log."""
        said = told.failure(self.folder, 0.0)
        if said:
            return said
        lines = self.executor.logs(self.folder).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it has said nothing; see {self.folder.path}"

    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.executor.status(self.folder, ATTEMPT).state in ("ended", "lost")

    def log(self, offset: int = 0) -> bytes:
        """What its process has written, from a byte on."""
        return self.executor.logs(self.folder, offset)

    def cancel(self, *, kill: bool = False) -> None:
        """Ask it to end, or end it."""
        self.executor.cancel(self.folder, ATTEMPT, kill=kill)


def begin(
    task: str, stage: str, spec: CommonSpec, file: Path | None, overrides: Sequence[str]
) -> AttachedJob:
    """Hand a stage to the executor that its spec names.

    Args:
        task, stage: the command.
        spec: as resolved; file: its YAML file, None where there is none.
        overrides: the words behind it, among them one that names the executor where that was an option.

    Raises:
        TaoLikeError: the engine does not take it. OSError: the results' folder cannot be written.
    """
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = Path(spec.results_dir or "results").absolute() / JOBS / f"{stage}-{now}-{secrets.token_hex(2)}"
    folder = JobFolder(path)
    words = [sys.executable, "-m", "tao_like.cli", task, stage]
    try:
        path.mkdir(parents=True)
        if file is not None:
            # A copy: the original may be edited while the job waits for a machine.
            shutil.copyfile(file, folder.spec)
            words += ["-e", str(folder.spec)]
    except OSError as error:
        raise SpecError(f"results_dir: {path} cannot be written: {error.strerror}") from error
    words += overrides
    if stage != AUTOML:
        words.append("execution.executor=local")  # where it is placed, it runs
    folder.write(
        _ABOUT_FILE,
        {"task": task, "stage": stage, "execution": to_dict(spec)["execution"], "began": time.time()},
    )
    job = AttachedJob.read(path)
    assert job is not None
    work = submission(
        folder,
        ATTEMPT,
        task,
        stage,
        {},
        command=words,
        environment=spec.execution.environment,
        cwd=Path.cwd(),
        placement=placement_of(spec, stage),
    )
    try:
        job.executor.submit(work)
    except TaoLikeError:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return job


def follow(job: AttachedJob, console: Console) -> int:
    """Show what a job tells until it has ended; gives its exit code, as a shell counts it.

    Ctrl-C asks the job to end and waits for that; a second one leaves it to itself.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the job has ended. TaoLikeError: it is gone without a word.
    """
    shown, interrupted = _Shown(console), False
    try:
        while True:
            try:
                seen = job.executor.status(job.folder, ATTEMPT)
                shown.events(_new_lines(job.folder.events, shown))
                if seen.state in ("ended", "lost"):
                    break
                if seen.state == "queued":
                    shown.note(seen.note)
                time.sleep(_PAUSE_SECONDS)
            except KeyboardInterrupt:
                if interrupted:
                    shown.note(f"it goes on; its folder is {job.folder.path}")
                    raise
                interrupted = True
                shown.note("asked to end; Ctrl-C again leaves it to itself")
                job.cancel()
    finally:
        shown.close()
    if interrupted:
        raise KeyboardInterrupt
    if seen.exit is None:
        raise TaoLikeError(seen.note or "lost: its process is gone and left no word")
    code = seen.exit.code
    if code:
        shown.note(f"error: {job.failure()}")
    return code if code >= 0 else 128 - code


class _Shown:
    """What was shown of a job."""

    def __init__(self, console: Console) -> None:
        self.byte = 0
        self._messages, self._display = ConsoleMessages(console), ProgressDisplay(console)
        self._bar: tuple[str, Progress, TaskID] | None = None
        self._noted, self._last_line = "", time.monotonic()

    def note(self, text: str) -> None:
        """Say something once."""
        if text and text != self._noted:
            self._noted = text
            self._messages.print(text)

    def events(self, lines: Iterator[dict[str, Any]]) -> None:
        """Show what a run tells as the run itself would."""
        for line in lines:
            if line.get("event") == "log":
                self._messages.log(line["level"], line["text"])
            elif line.get("event") == "progress":
                self._progress(
                    str(line["description"]), int(line["done"]), int(line["total"]), line["values"]
                )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._display.remove(self._bar[2])
            self._bar = None

    def _progress(self, description: str, done: int, total: int, values: dict[str, Any]) -> None:
        beside = " ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in values.items()
        )
        if not self._messages.console.is_interactive:
            if time.monotonic() - self._last_line >= _LINE_SECONDS:
                self._last_line = time.monotonic()
                self._messages.print(f"{description}: {done} of {total} {beside}".rstrip())
            return
        if self._bar is None or self._bar[0] != description:
            self.close()
            self._bar = (description, *self._display.add(description, total))
        self._bar[1].update(self._bar[2], completed=done, shown=beside)
        if done >= total:
            self.close()


def _new_lines(path: Path, shown: _Shown) -> Iterator[dict[str, Any]]:
    """Whole lines of a job's events that were not shown yet."""
    try:
        with path.open("rb") as file:
            file.seek(shown.byte)
            data = file.read()
    except FileNotFoundError:
        return
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        shown.byte += len(line)
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            yield content
