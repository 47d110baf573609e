"""Reading skeletons over time: arrays, and tables with a row for each joint."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.files import files_below, is_file, read_array
from tao_like.runtime.inputs.skeleton.preprocessing import Sequence4, SkeletonPreprocessing

SKELETON_SUFFIXES = (".npy", ".csv")
MOST_FRAMES = 100_000
"""A table with a frame number beyond this is rather wrong than long."""
_COLUMNS = ("frame", "person", "joint", "x", "y")


def skeleton_files(folder: Path) -> list[Path]:
    """Return the sequences in a folder and its subfolders, sorted; hidden files are left out.

    Raises:
        DatasetError: the folder holds none.
    """
    return files_below(folder, SKELETON_SUFFIXES, "skeleton sequence")


def read_skeleton(path: str | Path, preprocessing: SkeletonPreprocessing) -> Sequence4:
    """Read a sequence: ``.npy`` (C, T, V, M), or a table ``.csv`` with the columns frame, person, joint, x, y
    and z or score.

    Raises:
        DatasetError: the file is missing, damaged, or holds no such sequence. The message names it.
    """
    path = Path(path)
    if not is_file(path):
        raise DatasetError(f"{path} is not a file; a skeleton sequence was expected there.")
    if path.suffix.lower() == ".csv":
        return checked_skeleton(read_table(path, preprocessing.joints), preprocessing, str(path))
    try:
        values = read_array(path)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as a skeleton sequence: {error}. Replace or remove it."
        ) from error
    return checked_skeleton(values, preprocessing, str(path))


def read_table(path: Path, joints: int) -> Sequence4:
    """Read a table of joints, a row each, as (C, T, V, M).

    Frames and persons may have any whole numbers; what has no row is zero.

    Raises:
        DatasetError: a column or a number is missing, or a joint's number is not below ``joints``.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            third = next((name for name in ("z", "score") if name in names), None)
            wanted = [*_COLUMNS, *([third] if third else [])]
            if missing := [name for name in wanted if name not in names]:
                raise DatasetError(
                    f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(names)}."
                )
            reader.fieldnames = names
            rows = [[float(row[name]) for name in wanted] for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}. Replace or remove it.") from error
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path} holds something that is no number: {error}.") from error
    if not rows:
        raise DatasetError(f"{path} holds no joint; remove it.")
    return _from_rows(np.array(rows), joints, path)


def _from_rows(table: npt.NDArray[np.float64], joints: int, path: Path) -> Sequence4:
    """Rows of frame, person, joint and values as a sequence."""
    keys = table[:, :3]
    if not np.isfinite(keys).all() or (keys != np.round(keys)).any():
        raise DatasetError(f"{path}: frame, person and joint must be whole numbers.")
    first, last = keys[:, 0].min(), keys[:, 0].max()
    if last - first >= MOST_FRAMES:
        raise DatasetError(f"{path} spans {last - first + 1:.0f} frames; {MOST_FRAMES} are the most.")
    numbers = keys[:, 2].astype(int)
    if numbers.min() < 0 or numbers.max() >= joints:
        raise DatasetError(f"{path} names joint {numbers.max()}; the layout has 0 to {joints - 1}.")
    persons, which = np.unique(keys[:, 1], return_inverse=True)
    sequence = np.zeros((table.shape[1] - 3, int(last - first) + 1, joints, len(persons)), np.float32)
    sequence[:, (keys[:, 0] - first).astype(int), numbers, which] = table[:, 3:].T
    return sequence


def checked_skeleton(
    values: npt.NDArray[Any], preprocessing: SkeletonPreprocessing, source: str
) -> Sequence4:
    """A sequence as float32 (C, T, V, M); a batch axis of one in front is taken off.

    Raises:
        DatasetError: it is of another type or shape, or not finite.
    """
    if values.ndim == 5 and len(values) == 1:
        values = values[0]
    if values.ndim != 4 or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise DatasetError(
            f"{source} is {values.dtype} of shape {values.shape}; a skeleton sequence is numbers of shape "
            "(channels, frames, joints, persons)."
        )
    channels, frames, joints, persons = values.shape
    if (channels, joints) != (preprocessing.channels, preprocessing.joints) or not frames or not persons:
        raise DatasetError(
            f"{source} has {channels} channels, {frames} frames, {joints} joints and {persons} persons; the "
            f"network takes {preprocessing.channels} channels and {preprocessing.joints} joints."
        )
    if not np.isfinite(values).all():
        raise DatasetError(f"{source} holds values that are not numbers (NaN or infinite).")
    return np.asarray(values, np.float32)
