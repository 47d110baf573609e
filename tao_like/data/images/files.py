"""Finding, fingerprinting and peeking into image files."""

from __future__ import annotations

import hashlib
import os
import struct
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import IMAGE_SUFFIXES
from tao_like.tracking.files import readable

# Folders that archives and systems leave behind; they hold no data of the user's.
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

_EXIF_ORIENTATION = 0x0112
_HASH_BLOCK = 1 << 20


class Header(NamedTuple):
    """What the head of an image file says: upright width and height in pixels, and Pillow's mode."""

    width: int
    height: int
    mode: str

    @property
    def is_grey(self) -> bool:
        """Whether the file stores one channel of brightness."""
        return self.mode == "1" or self.mode.startswith(("L", "I", "F"))


def split_name(text: str) -> str | None:
    """``train``, ``val`` or ``test`` for the usual names of a split, in any case; else None."""
    return _SPLIT_NAMES.get(text.strip().lower())


def label_text(text: str) -> str:
    """A class name in one Unicode form, so that ``é`` typed on two systems is one class.

    Bytes of a folder's name that are no UTF-8 are escaped: the name goes into files that hold text alone.
    """
    return unicodedata.normalize("NFC", readable(text))


def is_image_name(name: str) -> bool:
    """Whether a file name has the suffix of a picture, in any case."""
    return suffix(name) in IMAGE_SUFFIXES


def suffix(name: str) -> str:
    """The suffix of a file name in lower case, with its dot; empty without one."""
    # Path(name).suffix takes ten times as long, which counts with 100,000 files.
    stem, dot, end = name.rpartition(".")
    return dot + end.lower() if stem and end else ""


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder in the order of their names, without hidden and system ones.

    Raises:
        DatasetError: The folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            visible = [e for e in entries if not e.name.startswith(".") and e.name not in _SYSTEM_FOLDERS]
    except OSError as error:
        raise DatasetError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    return sorted(visible, key=lambda entry: entry.name)


def find_images(folder: Path, ignored: Counter[str] | None = None) -> Iterator[Path]:
    """Paths of all pictures below a folder, nested ones too.

    Links are followed, but not back into a folder that they lie in. A link to nowhere that is named like a
    picture is yielded, so that a check can name it.

    Args:
        folder: Where to look.
        ignored: Counts files that are no pictures, by suffix.

    Raises:
        DatasetError: A folder cannot be read.
    """
    yield from _walk(folder, frozenset(), Counter() if ignored is None else ignored)


def _walk(folder: Path, ancestors: frozenset[tuple[int, int]], ignored: Counter[str]) -> Iterator[Path]:
    try:
        status = folder.stat()
    except OSError as error:
        raise DatasetError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:
        return
    for entry in listing(folder):
        if entry.is_dir():
            yield from _walk(Path(entry.path), ancestors | {identity}, ignored)
        elif is_image_name(entry.name):
            yield Path(entry.path)
        else:
            ignored[suffix(entry.name)] += 1


def content_sha1(path: Path) -> str:
    """SHA-1 of a file's bytes, in hexadecimal. Remembered while size and time of change stay the same.

    Raises:
        OSError: The file cannot be read.
    """
    status = path.stat()
    return _sha1(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 18)
def _sha1(path: Path, size: int, modified: int) -> str:
    # Not for security: it tells equal files from different ones.
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def identical_files(paths: Iterable[Path]) -> list[list[int]]:
    """Positions of files with equal content, a list for each content that two or more files share.

    Only files of equal size are read. Empty and unreadable files are left out: those are other faults.
    """
    by_size: defaultdict[int, list[tuple[int, Path]]] = defaultdict(list)
    for index, path in enumerate(paths):
        try:
            size = path.stat().st_size
        except OSError:
            continue
        if size:
            by_size[size].append((index, path))
    by_hash: defaultdict[str, list[int]] = defaultdict(list)
    for candidates in by_size.values():
        if len(candidates) < 2:
            continue
        for index, path in candidates:
            try:
                by_hash[content_sha1(path)].append(index)
            except OSError:
                continue
    return sorted(same for same in by_hash.values() if len(same) > 1)


def read_header(path: Path) -> Header:
    """Size and mode of a picture from the head of its file, without decoding the pixels.

    Raises:
        DatasetError: The file is missing, empty or no picture that Pillow knows.
    """
    try:
        with Image.open(path, formats=_formats()) as image:
            width, height = image.size
            mode = image.mode
            try:
                sideways = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
                # A damaged EXIF block does not make the picture unreadable.
                sideways = False
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if path.is_file() and path.stat().st_size == 0:
            raise DatasetError(f"{path}: the file is empty (0 bytes)") from None
        raise DatasetError(f"{path}: not a readable picture ({_reason(error)})") from error
    return Header(height, width, mode) if sideways else Header(width, height, mode)


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Pillow's formats of the suffixes that are read, so that no other kind hides behind such a suffix."""
    known = Image.registered_extensions()
    return tuple(sorted({known[suffix] for suffix in IMAGE_SUFFIXES}))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known image format"
    return str(error) or type(error).__name__


def first_of(names: Iterable[str], limit: int = 10) -> str:
    """Names for an error message: one a line, the first few, and how many more there are."""
    every = list(names)
    lines = [f"  {name}" for name in every[:limit]]
    if len(every) > limit:
        lines.append(f"  and {len(every) - limit} more")
    return "\n".join(lines)
