"""One server for each folder of jobs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tao_like.errors import SpecError

SERVER_LOCK = "server.lock"


@contextmanager
def only_server(folder: Path) -> Iterator[None]:
    """Keep other servers away from a folder; the lock ends with the process, however that ends.

    Raises:
        SpecError: another server has it, with its process number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / SERVER_LOCK).open("a+") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip() or "unknown"
            raise SpecError(
                f"--folder: another server (process {other}) is at work on {folder}; stop it, or give another"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
