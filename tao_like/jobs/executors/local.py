"""Jobs as processes of this machine."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from typing import Any

from tao_like.jobs.executors.base import Seen, Submission
from tao_like.jobs.executors.shared import SharedFolder, python_path, supervisor_words, write_request
from tao_like.jobs.folder import LOCK_FILE, PROCESS_FILE, REQUEST_FILE, JobFolder
from tao_like.jobs.process import ProcessRecord, end_group, end_marked

_START_SECONDS = 5.0
"""A supervisor that has not said by then that it is there will not do so."""
_SUPERVISOR_LOG = "supervisor.txt"


class LocalExecutor(SharedFolder):
    """Starts a supervisor for each attempt; needs nothing of it afterwards but the job's folder."""

    name = "local"

    def __init__(self) -> None:
        self._supervisors: list[subprocess.Popen[bytes]] = []

    def submit(self, submission: Submission) -> None:
        """Start an attempt. Raises OSError where the folder cannot be written."""
        folder, attempt = submission.folder, submission.attempt
        write_request(submission, submission.command)
        with (folder.path / _SUPERVISOR_LOG).open("ab") as log:
            supervisor = subprocess.Popen(
                supervisor_words(sys.executable, folder, attempt),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": python_path()},
                start_new_session=True,
            )
        self._supervisors.append(supervisor)

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        """How an attempt stands."""
        self._reap()
        processes = folder.read(PROCESS_FILE)
        begun = processes.get("attempt") == attempt
        alive = begun and (_is_alive(processes.get("supervisor")) or _is_alive(processes.get("child")))
        # In this order: a supervisor writes the file before it goes.
        if ended := folder.exit(attempt):
            return Seen("ended", ended)
        if alive:
            return Seen("running" if processes.get("child") else "starting")
        if not begun and _may_still_begin(folder, attempt):
            return Seen("starting")
        return Seen("lost")

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        """Ask an attempt to end; ``kill``: end it, and whatever it has started in any session."""
        processes = folder.read(PROCESS_FILE)
        child = ProcessRecord.read(processes.get("child"))
        if processes.get("attempt") == attempt and child is not None and child.is_alive():
            end_group(child.process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        if kill:
            end_marked(folder.mark(attempt))

    def _reap(self) -> None:
        """Take note of supervisors that have ended, so that they do not stay as zombies."""
        self._supervisors = [one for one in self._supervisors if one.poll() is None]


def _is_alive(fields: Any) -> bool:
    record = ProcessRecord.read(fields)
    return record is not None and record.is_alive()


def _may_still_begin(folder: JobFolder, attempt: int) -> bool:
    """Whether a supervisor was just started, or is about to say that it is there."""
    request = folder.path / REQUEST_FILE
    if folder.read(REQUEST_FILE).get("attempt") != attempt:
        return False
    if time.time() - request.stat().st_mtime < _START_SECONDS:
        return True
    try:
        with (folder.path / LOCK_FILE).open("a") as lock:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
