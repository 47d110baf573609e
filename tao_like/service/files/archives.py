"""Unpacks archives of strangers: nothing lands outside, nothing is a link, and nobody fills the disk."""

from __future__ import annotations

import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from typing_extensions import Self

from tao_like.errors import DatasetError

_CHUNK = 1 << 20
_LONGEST_NAME = 1000
_DEEPEST = 50
_LONGEST_HEADER = 1 << 20
_WHOLE_HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_BYTES_IN_LIST = 300
"""Of a member in a zip's list, with its name; more than archives of long paths take."""
_TAIL = (1 << 16) + 200
_CLUTTER = ("__MACOSX", ".DS_Store")


def unpack(archive: Path, target: Path, *, max_members: int, max_bytes: int) -> int:
    """Unpack a zip or tar file into a new folder.

    Args:
        archive: the file.
        target: the folder, which is made; after an error there is none.
        max_members: files and folders in it at most.
        max_bytes: of all files together, counted as they are written.

    Returns:
        The number of files.

    Raises:
        DatasetError: it is no such file, or holds what is not allowed, with the member's name.
    """
    target.mkdir(parents=True)
    try:
        return _write(_members(archive, max_members), target, max_members, max_bytes)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        broken = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError)
        if isinstance(error, (*broken, _zlib_error(), _lzma_error())):
            raise DatasetError(f"the archive is damaged, or of a kind that is not known: {error}") from error
        raise


def only_folder(folder: Path) -> Path:
    """The folder itself or, where it holds nothing but one folder, that one: so people pack folders."""
    inside = [path for path in folder.iterdir() if path.name not in _CLUTTER]
    if len(inside) == 1 and inside[0].is_dir() and not _is_split(inside[0].name):
        return inside[0]
    return folder


def _is_split(name: str) -> bool:
    return name.lower() in ("train", "val", "valid", "validation", "test")


class _Member:
    """A member of an archive: its name, whether it is a folder, and how to read it."""

    def __init__(self, name: str, *, is_folder: bool, source: IO[bytes] | None) -> None:
        self.name, self.is_folder, self.source = name, is_folder, source


def _write(members: Iterator[_Member], target: Path, max_members: int, max_bytes: int) -> int:
    left, files = max_bytes, 0
    for number, member in enumerate(members, 1):
        if number > max_members:
            raise DatasetError(f"the archive has more than {max_members} members; give a smaller one")
        path = target / _safe(member.name)
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        assert member.source is not None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                while chunk := member.source.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise DatasetError(
                            f"the archive holds more than {max_bytes} bytes; the rest begins in {member.name}"
                        )
                    out.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise DatasetError(f"the archive has {member.name} twice; give each name once") from error
        files += 1
    return files


def _safe(name: str) -> PurePosixPath:
    """A member's name as a path that stays below the target. Raises DatasetError."""
    path = PurePosixPath(name)
    reason = ""
    if not name or "\0" in name or "\\" in name or any(ord(letter) < 32 for letter in name):
        reason = "it has a name that no file can have everywhere"
    elif path.is_absolute() or (len(name) > 1 and name[1] == ":"):
        reason = "its path is absolute"
    elif ".." in path.parts:
        reason = "its path leads upwards"
    elif len(name) > _LONGEST_NAME or len(path.parts) > _DEEPEST or any(len(p) > 200 for p in path.parts):
        reason = "its path is too long"
    if reason:
        raise DatasetError(f"the archive may not hold {name[:100]!r}: {reason}")
    return path


def _members(archive: Path, most: int) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        if _bytes_of_list(archive) > max(1 << 16, most * _BYTES_IN_LIST):
            raise DatasetError(f"the archive's list of members is longer than {most} of them take")
        yield from _zip_members(archive)
    else:
        yield from _tar_members(archive)


def _bytes_of_list(archive: Path) -> int:
    """How long a zip's list of members is, which Python reads whole: the most that an end of it could say."""
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    # The record at the end, and its form for large files: signature, where the length stands in it, its form.
    said = [0]
    for signature, start, form in ((b"PK\5\6", 12, "<L"), (b"PK\6\6", 40, "<Q")):
        position = tail.find(signature)
        while position >= 0:
            if position + start + struct.calcsize(form) <= len(tail):
                said += struct.unpack_from(form, tail, position + start)
            position = tail.find(signature, position + 1)
    return max(one for one in said if one != 0xFFFFFFFF)  # which says: see the other form


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DatasetError(f"the archive may not hold {info.filename!r}: it is a link or a device")
            if info.flag_bits & 1:
                raise DatasetError(f"the archive may not hold {info.filename!r}: it is encrypted")
            if info.is_dir():
                yield _Member(info.filename, is_folder=True, source=None)
                continue
            with opened.open(info) as source:
                yield _Member(info.filename, is_folder=False, source=source)


class _TarHeader(tarfile.TarInfo):
    """A header of a tar file. Those that hold names or attributes are read whole, and may not be long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _WHOLE_HEADERS and header.size > _LONGEST_HEADER:
            raise DatasetError(
                f"the archive may not hold a header of {header.size} bytes; pack the folder anew"
            )
        return header


def _tar_members(archive: Path) -> Iterator[_Member]:
    try:
        tar = tarfile.open(archive, "r:*", tarinfo=_TarHeader)  # noqa: SIM115  (closed below)
    except tarfile.ReadError as error:
        text = "the upload is neither a zip nor a tar file; pack the folder as one of them"
        raise DatasetError(text) from error
    with tar as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise DatasetError(f"the archive may not hold {info.name!r}: it is a link or a device")
            if info.isdir():
                yield _Member(info.name, is_folder=True, source=None)
                continue
            source = opened.extractfile(info)
            assert source is not None
            with source:
                yield _Member(info.name, is_folder=False, source=source)


def _zlib_error() -> type[Exception]:
    import zlib

    return zlib.error


def _lzma_error() -> type[Exception]:
    import lzma

    return lzma.LZMAError
