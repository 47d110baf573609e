"""One process at a time may claim a run folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tao_like.errors import SpecError
from tao_like.tracking.files import explained_os_errors, make_folder
from tao_like.tracking.process import Process, this_process

LOCK_FILE = ".tao_like.lock"
WAIT_SECONDS = 30.0
LEFT_OVER_SECONDS = 120.0
"""Age of a lock file of another machine, where its owner cannot be looked for, that is taken over."""
_PAUSE_SECONDS = 0.02
_NOT_SUPPORTED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

_held = threading.local()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other processes and threads from claiming ``folder`` inside the block.

    Held while a run looks who else is in the folder, moves what an earlier one left, and says that it is
    there; from then on status.json keeps others away. The lock is one on the folder above, which takes no
    file and ends with its process. Where a file system has no such locks (NFS), it is a file there, which is
    taken over when its owner is dead. May be nested.

    Raises:
        SpecError: another process has held the lock for 30 s, or the folder above cannot be made.
    """
    parent = Path(os.path.abspath(folder)).parent  # noqa: PTH100 - resolve() would follow a link that is moved
    held: set[Path] = getattr(_held, "folders", set())
    if parent in held:
        yield
        return
    make_folder(parent)
    with contextlib.ExitStack() as scope:
        try:
            scope.enter_context(_locked_directory(parent, folder))
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            scope.enter_context(_lock_file(parent, folder))
        _held.folders = held | {parent}
        try:
            yield
        finally:
            _held.folders = held


@contextmanager
def _locked_directory(parent: Path, folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise OSError(errno.ENOSYS, "no flock here") from error
    try:
        descriptor = os.open(parent, os.O_RDONLY)
    except PermissionError as error:
        raise OSError(errno.ENOTSUP, "the folder cannot be opened for a lock") from error
    try:
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(end, folder)
        try:
            yield
        finally:
            # A process that another thread has forked meanwhile has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@contextmanager
def _lock_file(parent: Path, folder: Path) -> Iterator[None]:
    path = parent / LOCK_FILE
    mine = json.dumps(asdict(this_process()) | {"id": uuid.uuid4().hex})
    end = time.monotonic() + WAIT_SECONDS
    while not _written(path, mine, folder):
        left_over = _left_over(path)
        if left_over is not None:
            _remove(path, left_over)
        else:
            _wait(end, folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8") == mine:
                path.unlink()


def _written(path: Path, content: str, folder: Path) -> bool:
    """Write the lock file whole, if there is none: linked, so that nobody reads half of it."""
    temporary = path.with_name(f"{LOCK_FILE}.{uuid.uuid4().hex[:8]}")
    with explained_os_errors(folder):
        temporary.write_text(content, encoding="utf-8")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
    return True


def _left_over(path: Path) -> str | None:
    """The content of a lock file whose owner is dead or, on another machine, which is old; None otherwise."""
    try:
        content = path.read_text(encoding="utf-8")
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(content)
        owner = Process(fields["host"], fields["namespace"], fields["pid"], fields["start"])
    except (ValueError, KeyError, TypeError):
        return content
    alive = owner.is_alive()
    is_dead = age > LEFT_OVER_SECONDS if alive is None else not alive
    return content if is_dead else None


def _remove(path: Path, content: str) -> None:
    """Remove the lock file of a dead owner, and not one that has come into its place meanwhile."""
    aside = path.with_name(f"{LOCK_FILE}.{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(OSError):
        path.rename(aside)
        if aside.read_text(encoding="utf-8") != content:
            os.link(aside, path)
        aside.unlink()


def _wait(end: float, folder: Path) -> None:
    if time.monotonic() > end:
        raise SpecError(
            f"results_dir: another run has been starting in the folder above {folder} for "
            f"{WAIT_SECONDS:.0f} s; wait for it, or choose another results_dir"
        )
    time.sleep(_PAUSE_SECONDS)
