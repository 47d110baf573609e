"""LiDAR frames: how they are read and how they are prepared for a network.

As with pictures, datasets, evaluation and the exported model's runtime all call these functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError, DatasetError

Points = npt.NDArray[np.float32]

POINT_SUFFIXES = frozenset({".bin", ".npy"})
POINT_FEATURES = 4
"""x, y, z in metres, and the strength of the echo."""


@dataclass(frozen=True)
class PointsPreparation:
    """How a frame becomes a network's input.

    Attributes:
        point_cloud_range: smallest x, y, z and largest x, y, z in metres; points outside are left out.
        values_per_point: float32 numbers of a point in a .bin file.
        columns: which of them are x, y, z and the strength of the echo, counted from 0.
        intensity_scale: by which that strength is divided, so that it lies between 0 and 1.
    """

    point_cloud_range: tuple[float, ...]
    values_per_point: int = POINT_FEATURES
    columns: tuple[int, ...] = (0, 1, 2, 3)
    intensity_scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values without meaning, with a BundleError."""
        limits = self.point_cloud_range
        numbers = len(limits) == 6 and all(
            isinstance(value, int | float) and math.isfinite(value) for value in limits
        )
        if not numbers or any(low >= high for low, high in zip(limits[:3], limits[3:], strict=True)):
            raise BundleError(
                f"preparation.point_cloud_range is {list(limits)}; it is smallest x, y, z, then largest."
            )
        if len(self.columns) != POINT_FEATURES or not all(
            isinstance(column, int) and 0 <= column < self.values_per_point for column in self.columns
        ):
            raise BundleError(
                f"preparation.columns is {list(self.columns)}; it names {POINT_FEATURES} of the "
                f"{self.values_per_point} numbers of a point, from 0."
            )
        if not self.intensity_scale > 0:
            raise BundleError(f"preparation.intensity_scale is {self.intensity_scale}; it is above 0.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        values = asdict(self)
        return values | {name: list(values[name]) for name in ("point_cloud_range", "columns")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PointsPreparation:
        """Read what `to_dict` wrote.

        Raises:
            BundleError: a key is missing or unknown, or a value has no meaning.
        """
        known = {field.name for field in fields(cls)}
        if different := sorted(known.symmetric_difference(values)):
            raise BundleError(f"preparation misses or adds the keys {', '.join(different)}.")
        lists = {name: values[name] for name in ("point_cloud_range", "columns")}
        if not all(isinstance(value, list | tuple) for value in lists.values()):
            raise BundleError("preparation.point_cloud_range and preparation.columns are lists.")
        scale, count = values["intensity_scale"], values["values_per_point"]
        if not isinstance(scale, int | float) or not isinstance(count, int):
            raise BundleError("preparation.intensity_scale and preparation.values_per_point are numbers.")
        return cls(tuple(lists["point_cloud_range"]), count, tuple(lists["columns"]), float(scale))


def point_files(folder: Path) -> list[Path]:
    """Return the frames in a folder and its subfolders, sorted; hidden files are left out.

    Raises:
        DatasetError: the folder holds no frame.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in POINT_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise DatasetError(f"{folder} holds no frame of points ({', '.join(sorted(POINT_SUFFIXES))}).")
    return found


def read_points(path: str | Path, preparation: PointsPreparation) -> Points:
    """Read a frame: (N, 4) float32 with x, y, z and the scaled strength of the echo.

    Points with a number that is not finite are left out; sensors write them where nothing came back.

    Args:
        path: .bin: little-endian float32, ``values_per_point`` of them a point; .npy: (N, values) numbers.
        preparation: says what the numbers are.

    Raises:
        DatasetError: the file is missing, empty or damaged, or no frame. The message names it.
    """
    path = Path(path)
    try:
        values = _npy(path) if path.suffix.lower() == ".npy" else _bin(path, preparation.values_per_point)
    except OSError as error:
        raise DatasetError(f"{path}: the file cannot be read ({error.strerror or error}).") from error
    return chosen_columns(values, preparation, str(path))


def chosen_columns(values: npt.NDArray[Any], preparation: PointsPreparation, name: str) -> Points:
    """The four numbers of each point that a network takes, (N, 4); those that are not finite are left out.

    Args:
        values: (N, values_per_point).
        preparation: names the columns.
        name: of the frame, for messages.

    Raises:
        DatasetError: it is no such array, or without a point.
    """
    most = max(preparation.columns)
    if values.ndim != 2 or values.shape[1] <= most or values.dtype.kind not in "fiu":
        raise DatasetError(
            f"{name}: {values.dtype} of shape {values.shape} is no frame; a frame has a row of at least "
            f"{most + 1} numbers for each point."
        )
    points = values[:, list(preparation.columns)].astype(np.float32)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise DatasetError(f"{name}: there is no point in it.")
    points[:, 3] /= preparation.intensity_scale
    return points


def _bin(path: Path, values_per_point: int) -> npt.NDArray[Any]:
    content = path.read_bytes()
    size = 4 * values_per_point
    if not content or len(content) % size:
        raise DatasetError(
            f"{path}: {len(content)} bytes are no whole number of points of {values_per_point} float32 "
            "values; the file is cut off, or a point has another number of values (dataset.point_feature_"
            "encoding.src_feature_list)."
        )
    values = np.frombuffer(content, "<f4").reshape(-1, values_per_point)
    # What is no number of this kind reads as any number, mostly a huge or a tiny one.
    known = values[np.isfinite(values)]
    if len(known) and np.abs(known).max() > 1e6:
        raise DatasetError(f"{path}: it holds numbers beyond 1e6 metres; it is no frame of float32 points.")
    return values


def _npy(path: Path) -> npt.NDArray[Any]:
    try:
        values: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DatasetError(f"{path}: it cannot be read as .npy: {error}.") from error
    return values


def prepare_points(points: Points, preparation: PointsPreparation) -> Points:
    """The points within the range, (N, 4) float32, in their order; perhaps none."""
    low, high = (
        np.array(preparation.point_cloud_range[part], np.float32) for part in (slice(3), slice(3, 6))
    )
    places = points[:, :3]
    return np.ascontiguousarray(points[((places >= low) & (places < high)).all(axis=1)])
