"""Finding, fingerprinting and peeking into image files."""

from __future__ import annotations

import codecs
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
from PIL.ExifTags import Base as ImageTag
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.image import IMAGE_FORMATS, IMAGE_SUFFIXES
from tao_like.runtime.inputs.image.big_images import open_image
from tao_like.runtime.inputs.shards import file_status, open_file
from tao_like.tracking.files import readable

# Folders that archives and systems leave behind; they hold no data of the user's.
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})

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

_CONVERT = "save them as JPEG or PNG (ImageMagick: magick mogrify -format jpg *{})"
_DEVELOP = "raw data of a camera; develop them into JPEG or PNG"
_FRAMES = "a video; take images out of it (ffmpeg -i FILE %06d.jpg)"
_PASSED_OVER = {
    **{kind: _CONVERT.format(kind) for kind in (".heic", ".heif", ".avif", ".jxl", ".psd", ".tga", ".svg")},
    **dict.fromkeys((".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2"), _DEVELOP),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), _FRAMES),
    **dict.fromkeys((".jfif", ".jpe"), "JPEG under another name; rename them to .jpg"),
    ".dcm": "DICOM; save the slices as 8-bit or 16-bit PNG",
}
"""Images that are not read, by suffix, and what to do about them."""

_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_PROFILES = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
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
    """Whether a file name has the suffix of an image, in any case."""
    return suffix(name) in IMAGE_SUFFIXES


def suffix(name: str) -> str:
    """The suffix of a file name in lower case, with its dot; empty without one."""
    # Path(name).suffix takes ten times as long, which counts with 100,000 files.
    stem, dot, end = name.rpartition(".")
    return dot + end.lower() if stem and end else ""


def listing(folder: Path) -> list[os.DirEntry[str]]:
    """Files and folders in a folder, in the order of their names, without hidden and system ones.

    Raises:
        DatasetError: The folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            visible = [e for e in entries if not e.name.startswith(".") and e.name not in _SYSTEM_FOLDERS]
    except OSError as error:
        raise DatasetError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    return sorted(visible, key=lambda entry: entry.name)


def check_is_folder(folder: Path, holds: str) -> None:
    """Raises DatasetError, with what a folder must hold, where there is none."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(f"{folder} {what}; give the folder that holds {holds}")


def find_images(
    folder: Path, ignored: Counter[str] | None = None, passed_over: list[Path] | None = None
) -> Iterator[Path]:
    """Paths of all images below a folder, nested ones too.

    Links are followed, but not back into a folder that they lie in. A link to nowhere that is named like a
    image is yielded, so that a check can name it.

    Args:
        folder: Where to look.
        ignored: Counts files that are no images, by suffix.
        passed_over: Gets images of a kind that cannot be read; see ``passed_over_notes``.

    Raises:
        DatasetError: A folder cannot be read.
    """
    others = Counter[str]() if ignored is None else ignored
    yield from _walk(folder, frozenset(), others, [] if passed_over is None else passed_over)


def passed_over_notes(paths: Iterable[Path]) -> list[tuple[str, list[Path]]]:
    """What to do about images of kinds that cannot be read: a sentence for each kind, and its files."""
    by_kind: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_kind[suffix(path.name)].append(path)
    return [
        (
            f"{len(files)} {'file' if len(files) == 1 else 'files'} {kind} passed over: {_PASSED_OVER[kind]}",
            files,
        )
        for kind, files in sorted(by_kind.items())
    ]


def _walk(
    folder: Path, ancestors: frozenset[tuple[int, int]], ignored: Counter[str], passed_over: list[Path]
) -> Iterator[Path]:
    try:
        status = folder.stat()
    except OSError as error:
        raise DatasetError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:
        return
    for entry in listing(folder):
        if entry.is_dir():
            yield from _walk(Path(entry.path), ancestors | {identity}, ignored, passed_over)
        elif is_image_name(entry.name) and (entry.is_file() or entry.is_symlink()):
            yield Path(entry.path)  # and not a pipe or a socket, which would wait for a writer
        else:
            kind = suffix(entry.name)
            ignored[kind] += 1
            if kind in _PASSED_OVER:
                passed_over.append(Path(entry.path))


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 where a mark at its start says so.

    Args:
        path: The file.
        what: What it should be, for the message, such as ``a class name a line``.

    Raises:
        DatasetError: The file cannot be read, or is written in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: the file cannot be read ({error.strerror})") from error
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DatasetError(f"{path}: line {line}: not UTF-8 text; give {what}, saved in UTF-8") from error


def content_sha1(path: Path) -> str:
    """SHA-1 of a file's bytes, in hexadecimal. Remembered while size and time of change stay the same.

    Raises:
        OSError: The file cannot be read.
    """
    return _sha1(path, *file_status(path))


@lru_cache(maxsize=1 << 18)
def _sha1(path: Path, size: int, modified: int) -> str:
    # Not for security: it tells equal files from different ones.
    digest = hashlib.sha1(usedforsecurity=False)
    with open_file(path) as stream:
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
            size = file_status(path).size
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
    """Size and mode of an image from the head of its file, without decoding the pixels.

    Remembered while the file's size and time of change stay the same.

    Raises:
        DatasetError: The file is missing, empty or no image that Pillow knows.
    """
    try:
        status = file_status(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DatasetError(f"{path}: not a readable image ({_reason(error)})") from error
    if path.exists() and not path.is_file():
        # Opening a pipe would wait for somebody to write to it.
        raise DatasetError(f"{path}: not a readable image (not a file)")
    return _header(path, *status)


@lru_cache(maxsize=1 << 18)
def _header(path: Path, size: int, modified: int) -> Header:
    try:
        with open_file(path) as file, open_image(file, IMAGE_FORMATS) as image:
            width, height = _stored_size(image)
            sideways = _orientation(image, path) in _SIDEWAYS
            return Header(height, width, image.mode) if sideways else Header(width, height, image.mode)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except (OSError, ValueError, SyntaxError) as error:
        if size == 0:
            raise DatasetError(f"{path}: the file is empty (0 bytes)") from None
        raise DatasetError(f"{path}: not a readable image ({_reason(error)})") from error


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as the pixels are stored, before they are turned upright."""
    if isinstance(image, TiffImageFile):
        # Pillow has turned the size of a TIFF already, by its orientation tag; the other formats' it has not.
        return int(image.tag_v2[ImageTag.ImageWidth]), int(image.tag_v2[ImageTag.ImageLength])
    return image.size


def _orientation(image: Image.Image, path: Path) -> int:
    """The EXIF orientation, 1 where it is not stated or cannot be read."""
    if isinstance(image, PngImageFile) and _describes_itself_late(path):
        image.load()
    try:
        # PngImageFile.getexif decodes the whole image to look for EXIF data behind the pixels.
        return int(Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        # A damaged EXIF block does not make the image unreadable.
        return 1


def _describes_itself_late(path: Path) -> bool:
    """Whether a PNG file has EXIF or XMP data behind its pixels.

    Raises:
        OSError: The file ends within its pixels.
    """
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        position = file.seek(len(_PNG_SIGNATURE))
        pixels_begun = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            position += 12 + length
            if kind == b"IDAT":
                pixels_begun = True
                if position > size:
                    raise OSError("the file ends within its pixels")
            elif pixels_begun and (
                kind == b"eXIf" or (kind in _PNG_TEXTS and file.read(24).startswith(_PNG_PROFILES))
            ):
                return True
            file.seek(position)
    return False


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
