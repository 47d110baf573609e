"""Writing files so that a final name only ever stands for a complete file."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tao_like.errors import SpecError, TaoLikeError

_PARTIAL = re.compile(r"^\..*\.[0-9a-f]{8}\.partial(\.[^.]*)?$")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether ``error`` says that the disk is full; native writers say so only in their text."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    return "No space left on device" in str(error)


def explain_os_error(error: OSError, folder: Path) -> TaoLikeError:
    """Say in one sentence why nothing can be written in ``folder``, and what to do.

    Returns:
        A ``SpecError`` where another folder is needed, a plain ``TaoLikeError`` otherwise.
    """
    if is_disk_full(error):
        return TaoLikeError(
            f"no space left on the disk that holds {folder}; free some space or choose another results_dir"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return SpecError(
            f"no permission to read and write in {folder}; change its owner or choose another results_dir"
        )
    if error.errno == errno.EROFS:
        return SpecError(f"{folder} is on a read-only disk; choose another results_dir")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return SpecError(f"{folder} cannot be a folder: a file has this name; choose another results_dir")
    if error.errno == errno.ENAMETOOLONG:
        return SpecError(f"{folder}: the name is too long for the disk; choose another results_dir")
    if error.errno == errno.EISDIR:
        return SpecError(f"{error.filename2 or error.filename or folder} is a folder; name a file")
    if error.errno == errno.ENOENT:
        return TaoLikeError(f"{folder} is gone; was it removed while the run was writing to it?")
    return TaoLikeError(f"cannot write in {folder}: {error.strerror or error}")


@contextmanager
def explained_os_errors(folder: Path) -> Iterator[None]:
    """Raise what the operating system refuses inside the block as one sentence that names ``folder``."""
    try:
        yield
    except OSError as error:
        raise explain_os_error(error, folder) from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, where it is not there.

    Raises:
        TaoLikeError: it cannot be made; a ``SpecError`` where another results_dir is needed.
    """
    with explained_os_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # /proc, say, has folders, and takes none
            raise SpecError(
                f"{folder} cannot be made where it should lie; choose another results_dir"
            ) from error


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Give a temporary path beside ``final`` that becomes ``final`` when the block ends well.

    The temporary name keeps the suffix, because writers choose their format by it. The parent folder is
    made. After an error the temporary file is removed, and whatever ``final`` was before is untouched.

    Raises:
        TaoLikeError: the disk is full, the folder cannot be written, or the block wrote nothing.
    """
    folder = final.parent
    make_folder(folder)
    if final.is_dir():
        raise SpecError(f"{final} is a folder; name a file")
    temporary = folder / f".{final.stem}.{uuid.uuid4().hex[:8]}.partial{final.suffix}"
    try:
        try:
            yield temporary
        except Exception as error:
            if is_disk_full(error):
                raise explain_os_error(OSError(errno.ENOSPC, str(error)), folder) from error
            raise
        if not temporary.is_file():
            raise TaoLikeError(f"nothing was written for {final}")
        with explained_os_errors(folder):
            _flush_to_disk(temporary)
            temporary.replace(final)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    """Put the content on the disk before the name: a power cut must not leave an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files that a killed process left in ``folder``."""
    for path in folder.iterdir():
        if _PARTIAL.match(path.name):
            with suppress(OSError):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@contextmanager
def atomic_folder(final: Path, marker: str) -> Iterator[Path]:
    """Give a new folder beside ``final`` that takes its place when the block ends well.

    After an error the new folder is removed, and whatever ``final`` was before is untouched.

    Args:
        final: its name.
        marker: a file that every such folder holds: one without it is the user's, and is not replaced.

    Raises:
        TaoLikeError: the disk is full, or the folder cannot be written.
        SpecError: something else is in the place.
    """
    if final.exists() and not (final / marker).is_file():
        raise SpecError(f"{final} is in the way of the folder that is to be written; choose another name")
    parent = final.parent
    temporary = parent / f".{final.name}.{uuid.uuid4().hex[:8]}.partial"
    former = parent / f".{final.name}.{uuid.uuid4().hex[:8]}.partial"
    with explained_os_errors(parent):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if final.exists():
                final.rename(former)
            try:
                temporary.rename(final)
            except OSError:
                if former.exists():
                    former.rename(final)
                raise
        finally:
            for folder in (temporary, former):
                shutil.rmtree(folder, ignore_errors=True)


class Artefact:
    """A file that a run produces: a temporary path inside ``with``, ``final`` afterwards.

    Args:
        final: where the file belongs.
        keep: False makes a file that is written and thrown away, for the processes of a parallel run that
            have nothing to leave behind.
        done: called once ``final`` is there.
    """

    def __init__(self, final: Path, *, keep: bool = True, done: Callable[[], None] | None = None) -> None:
        self.final = final
        self._keep = keep
        self._done = done

    def __enter__(self) -> Path:
        self._writer = atomic_path(self.final)
        self._temporary = self._writer.__enter__()
        return self._temporary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self._keep:
            self._temporary.unlink(missing_ok=True)
            return
        self._writer.__exit__(kind, error, trace)
        if error is None and self._done is not None:
            self._done()


_NOT_TEXT = re.compile("[\ud800-\udfff]")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_STEERING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def readable(text: str) -> str:
    r"""Text that every file and terminal can hold: bytes of a file name that are no UTF-8 become ``\xfc``.

    Python stands such bytes, and all that is not ASCII under the locale C, for halves of a character, which
    no encoding can write. A path for opening the file must stay as it is.
    """
    return _NOT_TEXT.sub(_escaped, text)


def is_text(text: str) -> bool:
    """Whether every encoding of Unicode can write it; see ``readable``."""
    return _NOT_TEXT.search(text) is None


def _escaped(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"


def terminal_text(text: str) -> str:
    """Text for a terminal: control characters, which may steer it, become ``?``; tabs and line ends stay."""
    return _STEERING.sub("?", readable(text)).replace("\r", "?")


def csv_cell(value: Any) -> Any:
    """A value for a cell of a CSV file, which no program takes for a formula or for orders to a terminal.

    Text that begins with ``=``, ``+``, ``-`` or ``@`` gets an apostrophe in front, unless it is a number;
    control characters become ``?``. Other values stay as they are.
    """
    if not isinstance(value, str):
        return value
    text = _STEERING.sub("?", readable(value))
    return f"'{text}" if text.startswith(_FORMULA_STARTS) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_plain(value: Any) -> Any:
    """Turn ``value`` into what JSON can hold.

    Text becomes ``readable``, arrays and tensors lists or numbers, dataclasses mappings, paths text, and
    numbers that are not finite None, since JSON has no word for them.

    Raises:
        TypeError: there is no plain form, with the type in the message.
    """
    if isinstance(value, str):
        return readable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return readable(str(value))
    if isinstance(value, Mapping):
        return {readable(str(key)): to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [to_plain(item) for item in items]
    if hasattr(value, "tolist"):
        return to_plain(value.tolist())
    raise TypeError(f"a {type(value).__name__} has no plain form for a JSON file")
