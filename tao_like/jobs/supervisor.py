"""Starts a job's process, waits for it, writes how it ended: ``python -m tao_like.jobs.supervisor FOLDER N``.

It is in a session of its own, so it outlives whoever started it, and imports little, so it is small. Where it
runs on another machine, whoever wants the job to end says so in ``stop.json``. Of a job on several machines
the first one's supervisor reports; on the others the variable TAO_LIKE_NODE is above 0, and the command runs
without one.
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

from tao_like.jobs.folder import EXIT_FILE, LOCK_FILE, PROCESS_FILE, REQUEST_FILE, STOP_FILE, Exit, JobFolder
from tao_like.jobs.process import MARK, ProcessRecord, end_group, end_marked

_LOCK_SECONDS = 10.0
_LOOK_SECONDS = 0.5
"""Between two looks for a wish to end."""
NODE_VARIABLE = "TAO_LIKE_NODE"
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
        folder.write(PROCESS_FILE, {"attempt": attempt, "began": began, "supervisor": me, "child": None})
        code = _run(folder, attempt, request, {"attempt": attempt, "began": began, "supervisor": me})
        end_marked(folder.mark(attempt))
        folder.write(EXIT_FILE, vars(Exit(attempt, code, began, time.time())))
        return code


def _run(folder: JobFolder, attempt: int, request: dict[str, object], known: dict[str, object]) -> int:
    command, environment, cwd = request["command"], request["environment"], request["cwd"]
    assert isinstance(command, list)
    assert isinstance(environment, dict)
    marks = [*filter(None, [os.environ.get(MARK)]), folder.mark(attempt)]
    variables = {**os.environ, **environment, MARK: "\n".join(marks)}
    asked: list[int] = []
    with folder.log.open("ab") as log:
        # From here on a request to end reaches the child, also one that comes before it is there.
        signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
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
        if asked:
            pass_on(asked[0], None)
        record = ProcessRecord.of(child.pid).plain()
        folder.write(PROCESS_FILE, {**known, "child": record})
        return _wait(child, folder, attempt)


def _wait(child: subprocess.Popen[bytes], folder: JobFolder, attempt: int) -> int:
    """The child's exit code; on the way it is ended where the folder says so."""
    heard: dict[str, object] = {}
    while True:
        try:
            return child.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            stop = folder.read(STOP_FILE)
        if stop != heard and stop.get("attempt") == attempt:
            heard = stop
            end_group(child.pid, signal.SIGKILL if stop.get("kill") else signal.SIGTERM)
            if stop.get("kill"):
                end_marked(folder.mark(attempt))


def _run_as_one_of_several(folder: JobFolder, attempt: int, node: str) -> None:
    """Become the command, on a machine that is not the job's first one."""
    end = time.monotonic() + _LOCK_SECONDS
    while (request := folder.read(REQUEST_FILE)).get("attempt") != attempt:
        if time.monotonic() > end:
            sys.exit(f"error: {folder.path / REQUEST_FILE} has no attempt {attempt}; is the folder shared?")
        time.sleep(_LOOK_SECONDS)
    log = os.open(folder.log.with_name(f"log-{node}.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.chdir(request["cwd"])
    os.environ.update(request["environment"], **{MARK: folder.mark(attempt)})
    os.execvp(request["command"][0], request["command"])


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
    if (one := os.environ.get(NODE_VARIABLE, "0")) not in ("", "0"):
        _run_as_one_of_several(JobFolder(Path(sys.argv[1])), int(sys.argv[2]), one)
    supervise(JobFolder(Path(sys.argv[1])), int(sys.argv[2]))
