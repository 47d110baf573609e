"""Which files of a folder can be asked about."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tao_like.errors import DatasetError


def files_below(folder: Path, suffixes: Collection[str], what: str) -> list[Path]:
    """Return the files of some kinds in a folder and its subfolders, sorted; hidden ones are left out.

    Args:
        folder: it exists.
        suffixes: lower case, with their dots.
        what: they are called, for messages.

    Raises:
        DatasetError: there is none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise DatasetError(f"{folder} holds no {what} ({', '.join(sorted(suffixes))}).")
    return found
