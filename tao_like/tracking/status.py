"""status.json: what a run says about itself, one JSON object a line, and how to read it back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tao_like.errors import SpecError, TaoLikeError
from tao_like.tracking.files import explained_os_errors, readable, to_plain
from tao_like.tracking.process import Process, this_process

STATUS_FILE = "status.json"
HEARTBEAT_FILE = ".heartbeat"
HEARTBEAT_SECONDS = 5.0
_DEEPEST = 4
"""Folders between the one that is asked for and a status file."""
SILENCE_LIMIT_SECONDS = 300.0
_BLOCK_BYTES = 4096
_ENDED = ("SUCCESS", "FAILURE")

# Runs that this very process has open. A run that is not among them has ended, even where it could not
# write its last line (a full disk).
open_runs: set[str] = set()


@dataclass(frozen=True)
class RunIdentity:
    """What every line of one run carries."""

    task: str
    stage: str
    run_id: str
    process: Process

    def fields(self) -> dict[str, Any]:
        """Return the fields as they stand in a line."""
        process = self.process
        return {
            "task": self.task,
            "stage": self.stage,
            "run_id": self.run_id,
            "host": process.host,
            "pid": process.pid,
            "pid_namespace": process.namespace,
            "pid_start": process.start,
        }


@dataclass(frozen=True)
class StageStatus:
    """What the last run in one stage's folder has said.

    Attributes:
        folder: the stage's folder.
        status: STARTED, RUNNING, SUCCESS or FAILURE.
        message: what the last line says.
        began: when the run started; when: time of its last line.
        kpi: the last figures that it reported, by name.
        epoch, max_epoch, step: progress, where the stage has said it.
        eta: time to go as ``h:mm:ss``, where the stage has said it and still runs.
        alive: whether the process still runs; ``process`` is None for a file that another tool wrote.
    """

    folder: Path
    task: str
    stage: str
    status: str
    message: str
    began: datetime
    when: datetime
    run_id: str
    process: Process | None
    alive: bool
    kpi: dict[str, float] = field(default_factory=dict)
    epoch: int | None = None
    max_epoch: int | None = None
    step: int | None = None
    eta: str | None = None


def append_line(
    folder: Path, identity: RunIdentity, status: str, message: str, fields: Mapping[str, Any] | None = None
) -> None:
    """Add one line to the status file in ``folder``.

    Raises:
        TaoLikeError: the line cannot be written, with the folder's name and the reason.
    """
    now = datetime.now().astimezone()
    line = {
        "date": f"{now.month}/{now.day}/{now.year}",
        "time": f"{now.hour}:{now.minute}:{now.second}",
        "timestamp": now.isoformat(timespec="milliseconds"),
        "status": status,
        "message": readable(message),
        **to_plain(dict(fields or {})),
        **to_plain(identity.fields()),
    }
    data = json.dumps(line, ensure_ascii=False).encode("utf-8", errors="replace") + b"\n"
    path = folder / STATUS_FILE
    with explained_os_errors(folder):
        # A process that was killed while it wrote leaves half a line; the next line must not continue it.
        if _ends_in_mid_line(path):
            data = b"\n" + data
        with path.open("ab") as file:
            file.write(data)


def _ends_in_mid_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a status file; half a line of a killed process is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("status"), str):
            lines.append(line)
    return lines


def close_dead_runs(folder: Path) -> list[RunIdentity]:
    """Write a FAILURE line for every run whose process is gone; return the runs that still go."""
    path = folder / STATUS_FILE
    with explained_os_errors(folder):
        if not path.is_file():
            return []
        lines = read_lines(path)
    alive = []
    for line in _last_lines_by_run(lines).values():
        identity = _identity(line)
        if line["status"] in _ENDED or identity is None:
            continue
        if _is_alive(identity, folder):
            alive.append(identity)
        else:
            append_line(folder, identity, "FAILURE", _gone_message(identity))
    return alive


def _last_lines_by_run(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(line.get("run_id", "")): line for line in lines}


def _gone_message(identity: RunIdentity) -> str:
    return (
        f"the process is gone (process {identity.process.pid} on {identity.process.host}): it was killed, "
        "ran out of memory, or the machine went down"
    )


def _identity(line: Mapping[str, Any]) -> RunIdentity | None:
    """Return whose line this is; None for a line that another tool wrote."""
    if not isinstance(line.get("run_id"), str) or not isinstance(line.get("pid"), int):
        return None
    process = Process(
        str(line.get("host", "")), line.get("pid_namespace"), line["pid"], line.get("pid_start")
    )
    return RunIdentity(str(line.get("task", "")), str(line.get("stage", "")), line["run_id"], process)


def _is_alive(identity: RunIdentity, folder: Path) -> bool:
    if identity.process == this_process():
        return identity.run_id in open_runs
    alive = identity.process.is_alive()
    if alive is not None:
        return alive
    try:
        silent_for = time.time() - (folder / HEARTBEAT_FILE).stat().st_mtime
    except OSError:
        return False
    return silent_for < SILENCE_LIMIT_SECONDS


def read_status(results_dir: Path) -> list[StageStatus]:
    """Return what the last run of every stage below ``results_dir`` says, oldest first.

    ``results_dir`` may be a stage's folder itself, or hold the results of several trainings, in folders up to
    four deep. Runs whose process is gone are marked FAILURE on disk
    first, or only in the result where the folder cannot be written.

    Raises:
        SpecError: ``results_dir`` is not a folder.
    """
    if not results_dir.is_dir():
        raise SpecError(
            f"results_dir: {results_dir} is not a folder; give the folder that the runs were written to"
        )
    found = []
    for depth in range(_DEEPEST + 1):
        for path in sorted(results_dir.glob("*/" * depth + STATUS_FILE)):
            # On a read-only folder the result alone says FAILURE.
            with suppress(TaoLikeError):
                close_dead_runs(path.parent)
            status = _stage_status(path)
            if status is not None:
                found.append(status)
    return sorted(found, key=lambda status: status.began.timestamp())


def _stage_status(path: Path) -> StageStatus | None:
    with explained_os_errors(path.parent):
        lines = read_lines(path)
        written = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    if not lines:
        return None
    run_id = lines[-1].get("run_id", "")
    lines = [line for line in lines if line.get("run_id", "") == run_id]
    last = lines[-1]
    identity = _identity(last)
    unfinished = last["status"] not in _ENDED
    alive = unfinished and identity is not None and _is_alive(identity, path.parent)
    dead = unfinished and identity is not None and not alive
    merged = {key: value for line in lines for key, value in line.items()}
    kpi = merged.get("kpi")
    return StageStatus(
        folder=path.parent,
        task=str(last.get("task", "")),
        stage=str(last.get("stage", "") or path.parent.name),
        status="FAILURE" if dead else last["status"],
        message=_gone_message(identity) if dead and identity is not None else str(last.get("message", "")),
        began=_when(lines[0], written),
        when=_when(last, written),
        run_id=str(run_id),
        process=identity.process if identity is not None else None,
        alive=alive,
        kpi=kpi if isinstance(kpi, dict) else {},
        epoch=merged.get("epoch"),
        max_epoch=merged.get("max_epoch"),
        step=merged.get("step"),
        eta=merged.get("eta") if alive else None,
    )


def _when(line: Mapping[str, Any], otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(str(line["timestamp"]))
    except (KeyError, ValueError):
        return otherwise


def duration_text(seconds: float) -> str:
    """Return a duration as ``h:mm:ss``."""
    return str(timedelta(seconds=max(0, round(seconds))))


class Heartbeat:
    """A thread that touches the heartbeat file, so that a run on another machine can be seen to live.

    The file has the size of a disk block: removing it makes room for the run's last line on a full disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / HEARTBEAT_FILE
        self._wrote = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write the file for the first time and start the thread."""
        with explained_os_errors(self._path.parent):
            self._wrote = True
            self._path.write_bytes(b" " * _BLOCK_BYTES)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the file; may be called twice, or before ``start``."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        # Without the question, a run that is refused would remove the file of the run that is in its way.
        if self._wrote:
            self._wrote = False
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # The run itself reports a folder that cannot be written, with its next status line.
            with suppress(OSError):
                self._path.touch()
