"""One stage's run folder: what is written when it starts, while it goes on, and however it ends."""

from __future__ import annotations

import json
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from tao_like.errors import SpecError, TaoLikeError
from tao_like.tracking.events import Events
from tao_like.tracking.failures import failure_message, is_interrupt
from tao_like.tracking.files import (
    Artefact,
    atomic_path,
    explained_os_errors,
    make_folder,
    remove_partial_files,
    to_plain,
)
from tao_like.tracking.listeners import ConsoleMessages, LogFile, StatusFile
from tao_like.tracking.locking import folder_lock
from tao_like.tracking.process import is_main_process, this_process
from tao_like.tracking.progress import Progress, ProgressDisplay
from tao_like.tracking.signals import signals_held, signals_raise
from tao_like.tracking.status import (
    STATUS_FILE,
    Heartbeat,
    RunIdentity,
    close_dead_runs,
    duration_text,
    open_runs,
)

SPEC_FILE = "spec.yaml"
REPORT_FILE = "report.json"
_FIGURES = (".png", ".jpg", ".gif")


class Run:
    """One run of a stage, as a context manager around its work.

    Entering makes the folder, marks earlier runs in it that died as FAILURE, and writes ``spec.yaml`` and a
    STARTED line. Leaving writes SUCCESS, or FAILURE with the reason for any exception; the exception goes on.
    Ctrl-C leaves as KeyboardInterrupt even where a library made a SystemExit of it; SIGTERM leaves as
    ``Terminated``, a SystemExit with code 143.

    What a run tells goes to its listeners: the console, log.txt, status.json, and those of the caller. In a
    parallel run only the first process writes and tells; the same calls do nothing in the others.

    Args:
        folder: the stage's folder, ``<results_dir>/<stage>``.
        task: name of the task; stage: name of the stage.
        spec_yaml: the resolved spec, as text.
        console: where messages and progress go; by default the standard output.
        debug: also keep the traceback of expected errors in log.txt.
        events: further listeners.

    Raises:
        SpecError: (on entering) the folder cannot be used, or another run is writing to it.
        TaoLikeError: (at any time) the disk is full or the folder is gone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        task: str,
        stage: str,
        spec_yaml: str,
        console: Console | None = None,
        debug: bool = False,
        events: Sequence[Events] = (),
    ) -> None:
        self.folder = folder
        self._writes = is_main_process()
        self._identity = RunIdentity(task, stage, uuid.uuid4().hex[:12], this_process())
        self._spec_yaml = spec_yaml
        self._debug = debug
        console = console if console is not None else Console()
        self._terminal = ConsoleMessages(console)
        self._display = ProgressDisplay(console) if self._writes else None
        self._log_file = LogFile(folder)
        self._status_file = StatusFile(folder, self._identity)
        self._listeners: list[Events] = []
        if self._writes:
            self._listeners = [self._terminal, self._log_file, self._status_file, *events]
        self._heartbeat = Heartbeat(folder)
        self._kpi: Mapping[str, float] | None = None
        self._advice = ""
        self._scope = ExitStack()

    def __enter__(self) -> Run:
        self._scope.enter_context(signals_raise())
        self._began = time.monotonic()
        try:
            if self._writes:
                with folder_lock(self.folder):
                    self._claim_folder()
                self._start()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._leave(error)
        except BaseException as late:
            # The disk is full, or Ctrl-C came before the signals were held: this run has failed after all.
            self._leave(late)
            raise
        if error is not None and is_interrupt(error) and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error

    def status(
        self, message: str, *, kpi: Mapping[str, float] | None = None, told: bool = False, **extra: Any
    ) -> None:
        """Add a RUNNING line to status.json.

        Args:
            message: what is going on.
            kpi: figures by name; the last ones are repeated on the final line.
            told: ``metric`` has told the figures already.
            extra: further fields, such as epoch, max_epoch, step; a number for ``eta`` is taken as seconds.
        """
        if not self._writes:
            return
        if kpi is not None:
            self._kpi = kpi
            extra["kpi"] = kpi
        if isinstance(extra.get("eta"), int | float):
            extra["eta"] = duration_text(extra["eta"])
        self._tell_status("RUNNING", message, extra)
        if kpi is not None and not told:
            self.metric(kpi, step=extra.get("step"), epoch=extra.get("epoch"))

    def info(self, text: str) -> None:
        """Say something to the user, on the console and in log.txt."""
        for listener in self._listeners:
            listener.log("info", text)

    def warning(self, text: str) -> None:
        """Warn the user, on the console and in log.txt."""
        for listener in self._listeners:
            listener.log("warning", text)

    def metric(
        self, values: Mapping[str, float], *, step: int | None = None, epoch: int | None = None
    ) -> None:
        """Tell values by name, such as a point of each curve; ``status`` does so with its ``kpi``."""
        for listener in self._listeners:
            listener.metric(values, step=step, epoch=epoch)

    @contextmanager
    def listening(self, listener: Events) -> Iterator[None]:
        """Tell one more listener what happens inside the block, in the process that tells things."""
        if not self._writes:
            yield
            return
        # In place: whoever shows progress holds this list.
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def advise(self, text: str) -> None:
        """Set what to tell the user should this run fail: how to go on, beside the reason."""
        self._advice = text

    def report(self, content: Mapping[str, Any]) -> None:
        """Write ``content`` to report.json, whole or not at all."""
        text = json.dumps(to_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with self.artefact(REPORT_FILE) as path:
            path.write_text(text, encoding="utf-8")

    def artefact(self, name: str) -> Artefact:
        """Return a context manager for writing the file ``name`` in the run folder.

        It gives a temporary path beside the final one; ``final`` stands for a complete file, or for what was
        there before. Images are told to the listeners as figures.
        """
        final = self.folder / name
        tell = None
        if final.suffix in _FIGURES and self._writes:

            def tell() -> None:
                for listener in self._listeners:
                    listener.figure(name, final)

        return Artefact(final, keep=self._writes, done=tell)

    def progress(self, description: str, total: int) -> Progress:
        """Return a context manager that shows how far ``total`` steps are."""
        return Progress(self._display, description, total, self._listeners)

    def _claim_folder(self) -> None:
        make_folder(self.folder)
        others = close_dead_runs(self.folder)
        if others:
            process = others[0].process
            raise SpecError(
                f"results_dir: {self.folder} is in use by another run (process {process.pid} on "
                f"{process.host}); wait for it to end, or choose another results_dir"
            )
        with explained_os_errors(self.folder):
            remove_partial_files(self.folder)
        message = f"{self._identity.task} {self._identity.stage} started"
        with signals_held():
            self._status_file.status("STARTED", message, {})
            open_runs.add(self._identity.run_id)
        self._heartbeat.start()

    def _start(self) -> None:
        message = f"{self._identity.task} {self._identity.stage} started"
        self._tell_status("STARTED", message, {}, written=True)
        with atomic_path(self.folder / SPEC_FILE) as path:
            path.write_text(self._spec_yaml, encoding="utf-8", errors="backslashreplace")

    def _leave(self, error: BaseException | None) -> None:
        """Write the last line and let go of thread, signals and folder; doing it twice is harmless."""
        try:
            with signals_held():
                self._heartbeat.stop()
                if self._identity.run_id in open_runs:
                    if error is None:
                        self._write_success()
                    else:
                        self._write_failure(error)
                    open_runs.remove(self._identity.run_id)
        finally:
            self._scope.close()

    def _write_success(self) -> None:
        seconds = time.monotonic() - self._began
        message = f"{self._identity.task} {self._identity.stage} finished in {duration_text(seconds)}"
        self._tell_status("SUCCESS", message, self._last_fields())

    def _write_failure(self, error: BaseException) -> None:
        message = failure_message(error)
        if self._advice:
            # The reason itself is told by whoever catches the error.
            self._terminal.print(self._advice)
            message = f"{message}; {self._advice}"
        # Whatever ended the run matters more to the user than a disk that does not take the news.
        try:
            self._status_file.status("FAILURE", message, self._last_fields())
        except TaoLikeError as unwritten:
            if str(unwritten) != message:
                self._terminal.log("warning", f"the failure is not in {STATUS_FILE}: {unwritten}")
        texts = [message]
        if self._debug or not isinstance(error, TaoLikeError | KeyboardInterrupt | SystemExit):
            texts.append("".join(traceback.format_exception(error)).rstrip())
        for listener in self._listeners:
            # A listener that fails now has nothing to add to the failure that is told here.
            with suppress(Exception):
                for text in texts:
                    listener.log("error", text)
                if listener is not self._status_file:
                    listener.status("FAILURE", message, self._last_fields())

    def _last_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"seconds": round(time.monotonic() - self._began, 1)}
        if self._kpi is not None:
            fields["kpi"] = self._kpi
        return fields

    def _tell_status(
        self, status: str, message: str, fields: Mapping[str, Any], *, written: bool = False
    ) -> None:
        """Tell a status to the listeners; ``written``: it stands in status.json already."""
        for listener in self._listeners:
            if not (written and listener is self._status_file):
                listener.status(status, message, fields)
