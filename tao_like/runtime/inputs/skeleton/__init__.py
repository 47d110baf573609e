"""Skeletons over time as a model takes them: reading, then preprocessing."""

from __future__ import annotations

from tao_like.runtime.inputs.skeleton.preprocessing import (
    Sequence4,
    SkeletonPreprocessing,
    normalize_skeleton,
    preprocess_skeleton,
    present,
    shown_part,
    uniform_frames,
    window,
)
from tao_like.runtime.inputs.skeleton.reading import (
    checked_skeleton,
    read_skeleton,
    read_table,
    skeleton_files,
)

__all__ = [
    "Sequence4",
    "SkeletonPreprocessing",
    "checked_skeleton",
    "normalize_skeleton",
    "preprocess_skeleton",
    "present",
    "read_skeleton",
    "read_table",
    "shown_part",
    "skeleton_files",
    "uniform_frames",
    "window",
]
