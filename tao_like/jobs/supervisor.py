"""Starts a job's process, waits for it, writes how it ended: ``python -m tao_like.jobs.supervisor FOLDER N``.

It is in a session of its own, so it outlives whoever started it, and imports little, so it is small.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from tao_like.jobs.folder import EXIT_FILE, LOCK_FILE, PROCESS_FILE, REQUEST_FILE, Exit, JobFolder
from tao_like.jobs.process import MARK, ProcessRecord, end_group, end_marked

_LOCK_SECONDS = 10.0
NOT_STARTED = 127
"""The exit code where the command could not be started, as a shell has it."""


def supervise(folder: JobFolder, attempt: int) -> int:
    """Run an attempt of the job in ``folder``; gives its exit code, 0 where it is another's to run."""
    with (folder.path / LOCK_FILE).open("a") as lock:
        if not _locked(lock.fileno()):
            return 0
        request = folder.read(REQUEST_FILE)
        # Somebody may have asked anew meanwhile, and an attempt runs once.
        if request.get("attempt") != attempt or folder.exit(attempt) or _is_begun(folder, attempt):
            return 0
        began = time.time()
        me = ProcessRecord.of(os.getpid()).plain()
        folder.write(PROCESS_FILE, {"attempt": attempt, "supervisor": me, "child": None})
        code = _run(folder, attempt, request, me)
        end_marked(folder.mark(attempt))
        folder.write(EXIT_FILE, vars(Exit(attempt, code, began, time.time())))
        return code


def _run(folder: JobFolder, attempt: int, request: dict[str, object], me: dict[str, object]) -> int:
    command, environment, cwd = request["command"], request["environment"], request["cwd"]
    assert isinstance(command, list)
    assert isinstance(environment, dict)
    marks = [*filter(None, [os.environ.get(MARK)]), folder.mark(attempt)]
    variables = {**os.environ, **environment, MARK: "\n".join(marks)}
    with folder.log.open("ab") as log:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=str(cwd),
                env=variables,
                start_new_session=True,
            )
        except OSError as error:
            log.write(f"error: {command[0]} cannot be started: {error}\n".encode())
            return NOT_STARTED

        def pass_on(number: int, _frame: FrameType | None) -> None:
            end_group(child.pid, number)

        signal.signal(signal.SIGTERM, pass_on)
        record = ProcessRecord.of(child.pid).plain()
        folder.write(PROCESS_FILE, {"attempt": attempt, "supervisor": me, "child": record})
        return child.wait()


def _is_begun(folder: JobFolder, attempt: int) -> bool:
    return folder.read(PROCESS_FILE).get("attempt") == attempt


def _locked(descriptor: int) -> bool:
    """Take the folder; False where another supervisor keeps it."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        else:
            return True


if __name__ == "__main__":
    supervise(JobFolder(Path(sys.argv[1])), int(sys.argv[2]))
