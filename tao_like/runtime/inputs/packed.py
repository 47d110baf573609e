"""Reading at any offset of a gzip file without unpacking it to disk. Python's standard library alone."""

from __future__ import annotations

import io
import zlib
from bisect import bisect_right
from pathlib import Path
from typing import Any, TypeAlias

_GZIP = zlib.MAX_WBITS | 16
_STEP = 4 * 2**20
"""Unpacked bytes between two offsets at which reading can begin; each takes about 40 kB of memory."""
_PIECE = 2**16
Mark: TypeAlias = tuple[int, int, Any]
"""Unpacked offset, packed offset, and the unpacker as it was there."""


class PackedFile(io.RawIOBase):
    """The unpacked content of a gzip file, of one or several members, with fast jumps.

    The unpacker is copied every few megabytes on the way; a jump goes on from the last copy before it.

    Args:
        path: the file.
        marks: copies that an earlier reading of the same file made; this one adds to them.

    Raises:
        OSError, zlib.error: from reading; it is cut off or no gzip file.
    """

    def __init__(self, path: Path, marks: list[Mark]) -> None:
        self._file = path.open("rb")
        self._marks = marks
        if not marks:
            marks.append((0, 0, zlib.decompressobj(_GZIP)))
        self._at = 0
        self._start()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The unpacked offset."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to an unpacked offset, from the start or from here."""
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a packed file is not known")
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """The next unpacked bytes, fewer only at the end. Raises EOFError, zlib.error."""
        if size < 0:
            raise io.UnsupportedOperation("a packed file is read in pieces")
        mark = self._marks[bisect_right(self._marks, self._at, key=lambda one: one[0]) - 1]
        if not self._ready_from <= self._at or mark[0] > self._ready_from + len(self._ready):
            self._start(mark)
        parts = []
        while size > 0:
            skip = self._at - self._ready_from
            if skip < len(self._ready):
                part = self._ready[skip : skip + size]
                parts.append(part)
                self._at += len(part)
                size -= len(part)
            elif not self._go_on():
                break
        return b"".join(parts)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()

    def _start(self, mark: Mark | None = None) -> None:
        """Goes back to an offset at which reading can begin."""
        self._ready_from, packed, unpacker = mark or self._marks[0]
        self._unpacker = unpacker.copy()
        self._ready = b""
        self._file.seek(packed)

    def _go_on(self) -> bool:
        """Unpacks the next piece; false at the end."""
        self._ready_from += len(self._ready)
        self._ready = b""
        if self._ready_from >= self._marks[-1][0] + _STEP and not self._unpacker.unconsumed_tail:
            self._marks.append((self._ready_from, self._file.tell(), self._unpacker.copy()))
        while not self._ready:
            packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data or self._file.read(_PIECE)
            if not packed:
                if not self._unpacker.eof:
                    raise EOFError("the gzip file is cut off")
                return False
            if self._unpacker.eof:
                packed = packed.lstrip(b"\0")
                if not packed:
                    continue
                self._unpacker = zlib.decompressobj(_GZIP)
            self._ready = self._unpacker.decompress(packed, _STEP)
        return True
