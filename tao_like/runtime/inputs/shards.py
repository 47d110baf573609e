"""Files inside a .tar, by a path that goes on behind it: ``pairs/train-000.tar/0001.jpg``.

A shard is listed once, from its headers, and then any of its files is read by its place: nothing is
unpacked, so no name inside can point elsewhere. Python's standard library alone.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tao_like.errors import DatasetError

SHARD_SUFFIX = ".tar"
_BLOCK = 512


class Member(NamedTuple):
    """A file in a shard: where its bytes begin, and how many there are."""

    offset: int
    size: int


class FileStatus(NamedTuple):
    """Of a file, or of a file in a shard, whose time of change is the shard's."""

    size: int
    modified: int


def file_status(path: Path) -> FileStatus:
    """Size in bytes and time of change in nanoseconds. Raises OSError, DatasetError."""
    try:
        status = path.stat()
        return FileStatus(status.st_size, status.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        found = _in_shard(path)
        if found is None:
            raise
        shard, member = found
        return FileStatus(member.size, shard.stat().st_mtime_ns)


def file_exists(path: Path) -> bool:
    """Whether there is such a file, be it in a shard. Raises DatasetError for a damaged shard."""
    return path.is_file() or _in_shard(path) is not None


def open_file(path: Path) -> BinaryIO:
    """The file, to be read. Raises OSError, DatasetError."""
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        found = _in_shard(path)
        if found is None:
            raise
        shard, member = found
        with shard.open("rb") as file:
            return io.BytesIO(read_member(file, member))


def read_member(file: BinaryIO, member: Member) -> bytes:
    """The bytes of a file in an open shard."""
    file.seek(member.offset)
    return file.read(member.size)


def shard_members(shard: Path) -> Mapping[str, Member]:
    """The files in a shard by their names, in its order; remembered while the shard stays the same.

    Raises:
        DatasetError: it cannot be read, is compressed or cut off, or its names are ambiguous.
    """
    try:
        status = shard.stat()
    except OSError as error:
        raise DatasetError(f"{shard}: the shard cannot be read ({error.strerror})") from error
    return _members(shard, status.st_size, status.st_mtime_ns)


def _in_shard(path: Path) -> tuple[Path, Member] | None:
    for shard in path.parents:
        if shard.suffix.lower() == SHARD_SUFFIX and shard.is_file():
            member = shard_members(shard).get(path.relative_to(shard).as_posix())
            return None if member is None else (shard, member)
    return None


@lru_cache(maxsize=1 << 14)
def _members(shard: Path, size: int, modified: int) -> dict[str, Member]:
    del modified
    found: dict[str, Member] = {}
    end = 0
    try:
        with tarfile.open(shard, "r:") as archive:
            for entry in archive:
                end = entry.offset_data + -(-entry.size // _BLOCK) * _BLOCK
                if entry.isreg() and not entry.issparse() and not _is_hidden(entry.name):
                    _add(found, entry, shard)
        with shard.open("rb") as file:
            file.seek(end)
            closed = not any(file.read(_BLOCK)) and end + _BLOCK <= size
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DatasetError(
            f"{shard}: this is no tar archive without compression ({error}); samples are read from their "
            "places, so unpack a .tar.gz to .tar first"
        ) from error
    if not closed:
        raise DatasetError(f"{shard}: the archive is cut off behind {next(reversed(found), 'its start')}")
    return found


def _add(found: dict[str, Member], entry: tarfile.TarInfo, shard: Path) -> None:
    name = posixpath.normpath(entry.name)
    if name.startswith(("/", "../")) or name == "..":
        raise DatasetError(f"{shard}: it holds {entry.name!r}, a name that points out of it")
    if name in found:
        raise DatasetError(f"{shard}: it holds {name} twice; write each sample under a key of its own")
    found[name] = Member(entry.offset_data, entry.size)


def _is_hidden(name: str) -> bool:
    """What systems leave behind, such as ``._0001.jpg``."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
