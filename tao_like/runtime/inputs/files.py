"""Which files of a folder can be asked about."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

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


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no disk takes is that of none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a folder; a name that no disk takes is that of none."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def read_array(path: Path, *, mapped: bool = False) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file; no pickle in it is read.

    Args:
        path: the file.
        mapped: into memory: what is not asked for is not read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or holds something else than one array.
    """
    try:
        values = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (EOFError, BadZipFile) as error:
        raise ValueError(str(error)) from error
    if not isinstance(values, np.ndarray):
        values.close()
        raise ValueError("it holds several arrays (.npz)")
    return values
