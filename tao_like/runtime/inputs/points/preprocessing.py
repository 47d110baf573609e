"""Preprocessing LiDAR frames for a network.

As with images, datasets, evaluation and the exported model's runtime all call these functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.errors import BundleError

Points = npt.NDArray[np.float32]
POINT_FEATURES = 4
"""x, y, z in metres, and the strength of the echo."""


@dataclass(frozen=True)
class PointsPreprocessing:
    """How a frame becomes a network's input.

    Attributes:
        point_cloud_range: smallest x, y, z and largest x, y, z in metres; points outside are left out.
        values_per_point: float32 numbers of a point in a .bin file.
        columns: which of them are x, y, z and the strength of the echo, counted from 0.
        intensity_scale: by which that strength is divided, so that it lies between 0 and 1.
        largest_echo: the end of the scale of the divided strengths in training, mostly 1; None: a file of an
            earlier release, which does not say.
    """

    point_cloud_range: tuple[float, ...]
    values_per_point: int = POINT_FEATURES
    columns: tuple[int, ...] = (0, 1, 2, 3)
    intensity_scale: float = 1.0
    largest_echo: float | None = None

    def __post_init__(self) -> None:
        """Refuse values without meaning, with a BundleError."""
        limits = self.point_cloud_range
        numbers = len(limits) == 6 and all(
            isinstance(value, int | float) and math.isfinite(value) for value in limits
        )
        if not numbers or any(low >= high for low, high in zip(limits[:3], limits[3:], strict=True)):
            raise BundleError(
                f"preprocessing.point_cloud_range is {list(limits)}; it is smallest x, y, z, then largest."
            )
        if len(self.columns) != POINT_FEATURES or not all(
            isinstance(column, int) and 0 <= column < self.values_per_point for column in self.columns
        ):
            raise BundleError(
                f"preprocessing.columns is {list(self.columns)}; it names {POINT_FEATURES} of the "
                f"{self.values_per_point} numbers of a point, from 0."
            )
        if not self.intensity_scale > 0:
            raise BundleError(f"preprocessing.intensity_scale is {self.intensity_scale}; it is above 0.")
        if self.largest_echo is not None and not self.largest_echo > 0:
            raise BundleError(f"preprocessing.largest_echo is {self.largest_echo}; it is above 0.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back."""
        values = asdict(self)
        if values["largest_echo"] is None:
            del values["largest_echo"]
        return values | {name: list(values[name]) for name in ("point_cloud_range", "columns")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PointsPreprocessing:
        """Read what `to_dict` wrote.

        Raises:
            BundleError: a key is missing or unknown, or a value has no meaning.
        """
        known = {field.name for field in fields(cls)} - {"largest_echo"}
        if different := sorted(known.symmetric_difference(values.keys() - {"largest_echo"})):
            raise BundleError(f"preprocessing misses or adds the keys {', '.join(different)}.")
        lists = {name: values[name] for name in ("point_cloud_range", "columns")}
        if not all(isinstance(value, list | tuple) for value in lists.values()):
            raise BundleError("preprocessing.point_cloud_range and preprocessing.columns are lists.")
        scale, count = values["intensity_scale"], values["values_per_point"]
        echo = values.get("largest_echo")
        if not isinstance(scale, int | float) or not isinstance(count, int):
            raise BundleError("preprocessing.intensity_scale and preprocessing.values_per_point are numbers.")
        if echo is not None and not isinstance(echo, int | float):
            raise BundleError(f"preprocessing.largest_echo is {echo!r}; it is a number.")
        return cls(tuple(lists["point_cloud_range"]), count, tuple(lists["columns"]), float(scale), echo)


def preprocess_points(points: Points, preprocessing: PointsPreprocessing) -> Points:
    """The points within the range, (N, 4) float32, in their order; perhaps none."""
    low, high = (
        np.array(preprocessing.point_cloud_range[part], np.float32) for part in (slice(3), slice(3, 6))
    )
    positions = points[:, :3]
    return np.ascontiguousarray(points[((positions >= low) & (positions < high)).all(axis=1)])
