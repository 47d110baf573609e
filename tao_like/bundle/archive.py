"""The archive that a bundle is: opened without believing what it says about itself."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tao_like.bundle.manifest import check_json_size
from tao_like.errors import BundleError

_LARGEST_DIRECTORY = 64 * 1024
_ENCRYPTED = 0x1
# zip's earliest; the same in every bundle, so equal content is equal bytes
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)

# What zipfile raises on damaged archives, beside its own error.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
)


class _LimitedReader(io.BufferedReader):
    """A file that refuses reads longer than ``longest_read``.

    zipfile believes what an archive says: it would read a directory of any number of entries, and reserve
    memory for any size that a member claims.
    """

    longest_read = _LARGEST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.longest_read:
            raise BundleError(f"it claims to hold {size} bytes where at most {self.longest_read} can be.")
        return super().read(size)


@contextmanager
def opened(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """Open a bundle's archive; whatever is wrong with it becomes a BundleError that names the file."""
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"{path} is not a file; a bundle (.tltb) was expected there.")
    try:
        file = _LimitedReader(io.FileIO(path))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        with file, zipfile.ZipFile(file) as archive:
            file.longest_read = path.stat().st_size
            yield archive
    except BundleError as error:
        raise BundleError(f"{path} cannot be used: {error}") from error
    except _ZIP_ERRORS as error:
        raise BundleError(f"{path} is damaged or no bundle: {error}.") from error


def content(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one member, of which zipfile checks the CRC."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
        raise BundleError(f"{name} is compressed or encrypted; the members of a bundle are neither.")
    if name.endswith(".json"):
        check_json_size(name, info.file_size)
    return archive.read(info)


def zip_info(name: str) -> zipfile.ZipInfo:
    """A member's entry, the same on every system and at any time."""
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.create_system = 3  # zipfile writes another number on Windows
    info.external_attr = 0o644 << 16
    return info
