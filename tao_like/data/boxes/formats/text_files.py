"""Text files of labels with an object a line: what KITTI and YOLO have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from tao_like.data.images.files import read_text
from tao_like.errors import DatasetError


def label_lines(label_file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each line that is not empty: where it stands, and its fields. Raises DatasetError."""
    status = label_file.stat()
    for number, line in _numbered_lines(label_file, status.st_size, status.st_mtime_ns):
        yield f"{label_file}:{number}", line.split()


@lru_cache(maxsize=1 << 16)
def _numbered_lines(label_file: Path, size: int, modified: int) -> list[tuple[int, str]]:
    """Remembered, as the format is told from all files before they are read."""
    del size, modified
    text = read_text(label_file, "labels as text")
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def number_of(text: str | None, where: str) -> float:
    """A number, perhaps infinite or NaN. Raises DatasetError."""
    try:
        return float(text or "")
    except ValueError as error:
        raise DatasetError(f"{where}: {text!r} is not a number") from error


def side_of(value: object, where: str) -> int:
    """A side of an image as a file states it, in pixels; 0 where it is not stated. Raises DatasetError."""
    if value is None or value == "":
        return 0
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DatasetError(f"{where} is {value!r}; give the image's side in pixels, or leave it out")
    return int(number)


def flag_of(value: object, where: str) -> bool:
    """Whether a mark such as ``iscrowd`` is set: a truth value, 0 or 1, or the same as a text.

    Raises:
        DatasetError: it is something else.
    """
    text = str(value).strip().lower()
    if value is None or text in ("", "0", "0.0", "false", "no"):
        return False
    if text in ("1", "1.0", "true", "yes"):
        return True
    raise DatasetError(f"{where} is {value!r}; it must be 0 or 1")


def numbers_of(fields: list[str]) -> list[float] | None:
    """Fields as finite numbers; None where one is none."""
    try:
        values = list(map(float, fields))
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None
