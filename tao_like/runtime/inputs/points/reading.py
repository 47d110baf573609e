"""Reading LiDAR frames: which numbers a point has, and whether they are those of the training."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tao_like.errors import DatasetError
from tao_like.runtime.inputs.files import read_array
from tao_like.runtime.inputs.points.named_columns import read_pcd, read_ply
from tao_like.runtime.inputs.points.preprocessing import POINT_FEATURES, Points, PointsPreprocessing

POINT_SUFFIXES = frozenset({".bin", ".npy", ".pcd", ".ply"})
UNREAD_SUFFIXES = frozenset(
    {".las", ".laz", ".e57", ".pts", ".ptx", ".xyz", ".npz", ".pcap", ".bag", ".mcap", ".h5", ".drc"}
)
"""Files that hold points too, in forms that are not read."""
HOW_TO_CONVERT = "convert them to .pcd, .ply, .npy or .bin, such as by `pdal translate a.las a.ply`"
ECHO_PERCENTILE = 95
STRONG_ECHO = 1.5
"""Strengths that are greater than those of the training by this factor are on another scale."""
BYTES = 100
"""Scales from here on are those of whole numbers, such as 255."""
PERIODS = range(3, 9)
"""Numbers of a point that are looked for where the given one does not fit."""
FEWEST_NUMBERS, ROWS_COMPARED = 400, 1000
LEAST_TOLD = 0.1
"""Part of the variance between columns from which on these are of different kinds."""
_ORDERS = {3: ", without the strength of the echo", 5: ", such as x, y, z, intensity and ring"}
_MAGIC = {b"# .PCD": "PCD", b"VERSION .7": "PCD", b"VERSION 0.7": "PCD", b"ply": "PLY", b"LASF": "LAS"}
_TEXT, _TEXT_LOOKED_AT = bytes([9, 10, 13, *range(32, 127)]), 4096
"""Bytes that text is made of; and how many of a file are looked at."""


class WrongEchoes(DatasetError):
    """Echoes of a frame are on another scale than those of the training."""


def point_files(folder: Path) -> list[Path]:
    """Return the frames in a folder and its subfolders, sorted; hidden files are left out.

    Raises:
        DatasetError: the folder holds no frame.
    """
    present = sorted(path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file())
    found = [path for path in present if path.suffix.lower() in POINT_SUFFIXES]
    if not found:
        unread = Counter(path.suffix.lower() for path in present if path.suffix.lower() in UNREAD_SUFFIXES)
        others = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items()))
        told = f" It has files that are not read ({others}); {HOW_TO_CONVERT}." if others else ""
        raise DatasetError(f"{folder} holds no frame of points ({', '.join(sorted(POINT_SUFFIXES))}).{told}")
    return found


class Frame(NamedTuple):
    """A frame as it was read.

    Attributes:
        points: (N, 4) float32 with x, y, z and the scaled strength of the echo.
        left_out: points with a number that is not finite; sensors write them where nothing came back.
    """

    points: Points
    left_out: int


def read_points(path: str | Path, preprocessing: PointsPreprocessing) -> Points:
    """The points of `read_frame`. Raises as it."""
    return read_frame(path, preprocessing).points


def read_frame(path: str | Path, preprocessing: PointsPreprocessing) -> Frame:
    """Read a frame.

    Args:
        path: .bin: little-endian float32, ``values_per_point`` of them a point; .npy: (N, values) numbers;
            .pcd and .ply: their headers name the numbers.
        preprocessing: says what the numbers are.

    Raises:
        DatasetError: the file is missing, empty or damaged, no frame, or of another sensor's form than the
            preprocessing says. The message names it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    named = {".pcd": read_pcd, ".ply": read_ply}.get(suffix)
    try:
        if named is not None:
            columns = replace(preprocessing, values_per_point=POINT_FEATURES, columns=(0, 1, 2, 3))
            return _chosen_frame(named(path), columns, str(path))
        values = _npy(path) if suffix == ".npy" else _bin(path, preprocessing.values_per_point)
    except OSError as error:
        raise DatasetError(f"{path}: the file cannot be read ({error.strerror or error}).") from error
    return _chosen_frame(values, preprocessing, str(path))


def chosen_columns(values: npt.NDArray[Any], preprocessing: PointsPreprocessing, name: str) -> Points:
    """The four numbers of each point that a network takes, (N, 4); those that are not finite are left out.

    Args:
        values: (N, values_per_point).
        preprocessing: names the columns.
        name: of the frame, for messages.

    Raises:
        DatasetError: it is no such array, without a point, or its echoes are not those of the training.
    """
    return _chosen_frame(values, preprocessing, name).points


def _chosen_frame(values: npt.NDArray[Any], preprocessing: PointsPreprocessing, name: str) -> Frame:
    most = max(preprocessing.columns)
    if values.ndim != 2 or values.shape[1] <= most or values.dtype.kind not in "fiu":
        raise DatasetError(
            f"{name}: {values.dtype} of shape {values.shape} is no frame; a frame has a row of at least "
            f"{most + 1} numbers for each point."
        )
    every = values[:, list(preprocessing.columns)].astype(np.float32)
    points = every[np.isfinite(every).all(axis=1)]
    if not len(points):
        told = f", as none of {len(every)} has finite numbers" if len(every) else ""
        raise DatasetError(f"{name}: there is no point in it{told}.")
    _check_echoes(points[:, 3], preprocessing, name)
    points[:, 3] /= preprocessing.intensity_scale
    return Frame(points, len(every) - len(points))


def _check_echoes(echoes: npt.NDArray[np.float32], preprocessing: PointsPreprocessing, name: str) -> None:
    """Refuses strengths on another scale than those of the training. Raises DatasetError."""
    scale, known = preprocessing.intensity_scale, preprocessing.largest_echo
    # Single mirrors and signs may be far stronger than all else.
    strong = float(np.percentile(echoes, ECHO_PERCENTILE))
    divided = "" if scale == 1 else f", divided by {scale:g}"
    told = f"{name}: its echoes are as strong as {strong:g}{divided}"
    key = "dataset.point_feature_encoding.intensity_scale"
    if known is None:
        if strong / scale > STRONG_ECHO:
            warnings.warn(
                f"{told}; 0 to 1 is usual, and the model's file does not say what the training had ({key})",
                stacklevel=5,
            )
    elif strong / scale > STRONG_ECHO * known:
        raise WrongEchoes(
            f"{told}; the network was made for 0 to {known:g}. Bring them to that scale, or train with a "
            f"{key} that divides them (255 for bytes)."
        )
    elif scale >= BYTES and math.isfinite(known) and _is_scaled(echoes):
        raise WrongEchoes(
            f"{name}: its echoes lie between 0 and {float(echoes.max()):g} and are no whole numbers, and "
            f"{key} divides them by {scale:g}. Multiply them by {scale:g}, or train with {key}=1."
        )


def _is_scaled(echoes: npt.NDArray[np.float32]) -> bool:
    """Whether these are fractions from 0 to 1, not bytes."""
    return bool(0 < echoes.max() <= 1 and (echoes != np.round(echoes)).any())


def _bin(path: Path, values_per_point: int) -> npt.NDArray[Any]:
    if path.suffix.lower() not in POINT_SUFFIXES:
        raise DatasetError(
            f"{path}: {path.suffix or 'a file without a suffix'} is not read as points; {HOW_TO_CONVERT}."
        )
    content = path.read_bytes()
    if not content:
        raise DatasetError(f"{path}: the file is empty (0 bytes); replace or remove it.")
    for start, kind in _MAGIC.items():
        if content.startswith(start):
            raise DatasetError(f"{path}: it is a {kind} file by its content; name it so, or convert it.")
    if not content[:_TEXT_LOOKED_AT].translate(None, _TEXT):
        raise DatasetError(
            f"{path}: it is text, and a .bin file holds the bytes of float32 numbers; write it so (numpy: "
            "np.loadtxt(FILE, np.float32).tofile(FILE)), or as .pcd."
        )
    size = 4 * values_per_point
    if len(content) % size:
        raise DatasetError(
            f"{path}: {len(content)} bytes are no whole number of points of {values_per_point} float32 "
            "values; the file is cut off, or a point has another number of values (dataset.point_feature_"
            "encoding.src_feature_list)."
        )
    numbers = np.frombuffer(content, "<f4")
    # What is no number of this kind reads as any number, mostly a huge or a tiny one.
    known = numbers[np.isfinite(numbers)]
    if len(known) and np.abs(known).max() > 1e6:
        raise DatasetError(f"{path}: it holds numbers beyond 1e6 metres; it is no frame of float32 points.")
    if other := other_period(numbers, values_per_point):
        raise DatasetError(
            f"{path}: its numbers repeat their kinds after {other}, not after {values_per_point}: a point "
            f"has {other} numbers{_ORDERS.get(other, '')}. Name them in dataset.point_feature_encoding."
            "src_feature_list and train with it, or write frames as the model takes them."
        )
    return numbers.reshape(-1, values_per_point)


def other_period(numbers: npt.NDArray[np.float32], expected: int) -> int | None:
    """After how many numbers their kinds repeat, where that is plainly not the number expected; else None.

    x, y, z and echoes differ in size and sign. Where a frame is cut into points of a wrong length, each
    column holds all of these, and the columns are alike. What is compared is the part of the numbers'
    variance, in logarithms, that lies between columns.
    """
    if len(numbers) < FEWEST_NUMBERS:
        return None
    periods = [period for period in PERIODS if period != expected and len(numbers) % period == 0]
    if not periods:
        return None
    own = told_apart(numbers, expected)
    if own > 0.5:
        # No other period can tell twice as much; nearly all frames end here.
        return None
    found = {period: told_apart(numbers, period) for period in periods}
    best = max(found.values())
    if best < LEAST_TOLD or own > best / 2:
        return None
    # A multiple tells as much as the number itself: the smallest of those is it.
    return next(period for period, told in found.items() if told >= 0.9 * best)


def told_apart(numbers: npt.NDArray[np.float32], period: int) -> float:
    """The part of the variance of numbers that lies between columns of a period, from 0 to 1."""
    whole = len(numbers) // period * period
    rows = numbers[:whole].reshape(-1, period)
    if len(rows) > ROWS_COMPARED:
        # At random: every n-th row would always meet the same column of points of another length.
        rows = rows[np.random.default_rng(0).integers(len(rows), size=ROWS_COMPARED)]
    rows = np.where(np.isfinite(rows), rows, 0)
    sizes = np.log1p(np.abs(rows))
    told = 0.0
    for values in (sizes, np.sign(rows) * sizes):
        total = float(values.var())
        told = max(told, float(values.mean(axis=0).var()) / total if total > 0 else 0.0)
    return told


def _npy(path: Path) -> npt.NDArray[Any]:
    try:
        return read_array(path)
    except ValueError as error:
        raise DatasetError(f"{path}: it cannot be read as .npy: {error}.") from error
