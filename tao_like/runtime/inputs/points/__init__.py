"""LiDAR frames as a model takes them: reading, then preprocessing."""

from __future__ import annotations

from tao_like.runtime.inputs.points.preprocessing import (
    POINT_FEATURES,
    Points,
    PointsPreprocessing,
    preprocess_points,
)
from tao_like.runtime.inputs.points.reading import (
    ECHO_PERCENTILE,
    HOW_TO_CONVERT,
    POINT_SUFFIXES,
    STRONG_ECHO,
    UNREAD_SUFFIXES,
    Frame,
    WrongEchoes,
    chosen_columns,
    other_period,
    point_files,
    read_frame,
    read_points,
)

__all__ = [
    "ECHO_PERCENTILE",
    "HOW_TO_CONVERT",
    "POINT_FEATURES",
    "POINT_SUFFIXES",
    "STRONG_ECHO",
    "UNREAD_SUFFIXES",
    "Frame",
    "Points",
    "PointsPreprocessing",
    "WrongEchoes",
    "chosen_columns",
    "other_period",
    "point_files",
    "preprocess_points",
    "read_frame",
    "read_points",
]
