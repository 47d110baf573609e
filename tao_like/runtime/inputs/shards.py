"""Files inside a .tar or .tar.gz, by a path that goes on behind it: ``pairs/train-000.tar/0001.jpg``.

A shard is listed once, from its headers, and then any of its files is read by its offset: nothing is
unpacked to disk, so no name inside can point elsewhere. Python's standard library alone.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.files import is_file
from tao_like.runtime.inputs.packed import Mark, PackedFile

_PACKED = (".tar.gz", ".tgz")
SHARD_SUFFIXES = (".tar", *_PACKED)
_LARGEST_PACKED = 2**30
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
    return is_file(path) or _in_shard(path) is not None


def open_file(path: Path) -> BinaryIO:
    """The file, to be read. Raises OSError, DatasetError."""
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        found = _in_shard(path)
        if found is None:
            raise
        shard, member = found
        with open_shard(shard) as file:
            return io.BytesIO(read_member(file, member))


def is_shard(path: Path) -> bool:
    """Whether a name is that of a shard."""
    return path.name.lower().endswith(SHARD_SUFFIXES)


def is_packed(shard: Path) -> bool:
    """Whether a shard is compressed."""
    return shard.name.lower().endswith(_PACKED)


def open_shard(shard: Path) -> BinaryIO:
    """A shard, to read members of it. Raises OSError."""
    if not is_packed(shard):
        return shard.open("rb")
    status = shard.stat()
    marks = _marks(shard, status.st_size, status.st_mtime_ns)
    return cast("BinaryIO", PackedFile(shard, marks))


def shard_images(shard: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of some kinds in a shard, by the paths that `open_file` takes. Raises DatasetError."""
    return [shard / name for name in shard_members(shard) if Path(name).suffix.lower() in suffixes]


@lru_cache(maxsize=1 << 10)
def _marks(shard: Path, size: int, modified: int) -> list[Mark]:
    """Where the reading of a packed shard can begin, found while it is read for the first time."""
    del shard, size, modified
    return []


def read_member(file: BinaryIO, member: Member) -> bytes:
    """The bytes of a file in an open shard."""
    try:
        file.seek(member.offset)
        return file.read(member.size)
    except (zlib.error, EOFError) as error:
        raise DatasetError(f"{getattr(file, 'name', 'a shard')}: it is damaged ({error})") from error


def shard_members(shard: Path) -> Mapping[str, Member]:
    """The files in a shard by their names, in its order; remembered while the shard stays the same.

    Raises:
        DatasetError: it cannot be read, is cut off, or its names are ambiguous.
    """
    try:
        status = shard.stat()
    except OSError as error:
        raise DatasetError(f"{shard}: the shard cannot be read ({error.strerror})") from error
    return _members(shard, status.st_size, status.st_mtime_ns)


def _in_shard(path: Path) -> tuple[Path, Member] | None:
    for shard in path.parents:
        if is_shard(shard) and is_file(shard):
            member = shard_members(shard).get(path.relative_to(shard).as_posix())
            return None if member is None else (shard, member)
    return None


@lru_cache(maxsize=1 << 14)
def _members(shard: Path, size: int, modified: int) -> dict[str, Member]:
    packed = is_packed(shard)
    del modified, size
    found: dict[str, Member] = {}
    end = 0
    try:
        with open_shard(shard) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for entry in archive:
                end = entry.offset_data + -(-entry.size // _BLOCK) * _BLOCK
                if entry.isreg() and not entry.issparse() and not _is_hidden(entry.name):
                    if packed and entry.size > _LARGEST_PACKED:
                        raise DatasetError(f"{shard}: {entry.name} has {entry.size} bytes; 1 GiB is the most")
                    _add(found, entry, shard)
            file.seek(end)
            block = file.read(_BLOCK)
            closed = len(block) == _BLOCK and not any(block)
    except EOFError:
        closed = False
    except (tarfile.TarError, OSError, ValueError, zlib.error) as error:
        raise DatasetError(
            f"{shard}: this is no tar archive ({error}); shards are .tar, or .tar.gz (.tgz), which is slower "
            "to draw from"
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
