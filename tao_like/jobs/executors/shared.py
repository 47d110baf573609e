"""What executors do alike, since a job's folder is at hand wherever it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import tao_like
from tao_like.jobs.executors.base import Submission
from tao_like.jobs.folder import REQUEST_FILE, JobFolder


class SharedFolder:
    """Logs and files, read from the job's folder."""

    def logs(self, folder: JobFolder, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """What the job has written, from a byte on."""
        try:
            with folder.log.open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def files(self, folder: JobFolder) -> list[Path]:
        """The files in the results, as paths within them; no links, and nothing half written."""
        found = []
        for parent, _folders, names in os.walk(folder.results):
            for name in names:
                path = Path(parent) / name
                if not path.is_symlink() and not name.startswith("."):
                    found.append(path.relative_to(folder.results))
        return sorted(found)


def write_request(submission: Submission, command: Sequence[str]) -> None:
    """Write what the supervisor is to run; an attempt that is written already stays as it is."""
    folder = submission.folder
    folder.path.mkdir(parents=True, exist_ok=True)
    if folder.read(REQUEST_FILE).get("attempt") == submission.attempt:
        return
    folder.write(
        REQUEST_FILE,
        {
            "attempt": submission.attempt,
            "command": list(command),
            "environment": dict(submission.environment),
            "cwd": str(submission.cwd),
        },
    )


def supervisor_words(python: str, folder: JobFolder, attempt: int) -> list[str]:
    """The command that starts, watches and reports an attempt."""
    return [python, "-m", "tao_like.jobs.supervisor", str(folder.path.absolute()), str(attempt)]


def python_path() -> str:
    """PYTHONPATH by which another process of this installation finds this package."""
    root, path = str(Path(tao_like.__file__).parents[1]), os.environ.get("PYTHONPATH")
    return f"{root}{os.pathsep}{path}" if path else root
