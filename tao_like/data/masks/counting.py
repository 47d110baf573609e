"""Counting the values of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tao_like.data.masks.files import read_mask_values
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.values import pack_colors, unpack
from tao_like.data.threads import in_threads
from tao_like.errors import DatasetError

_MOST_COLORS = 4096


@dataclass
class ValueCounts:
    """The values of some masks.

    Attributes:
        pixels: of each value of index masks.
        files: index masks that have a value.
        color_pixels: of each color of color masks.
        colors: the color masks.
        faults: what is wrong with files that cannot be read.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    files: dict[int, list[Path]] = field(default_factory=dict)
    color_pixels: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    colors: list[Path] = field(default_factory=list)
    faults: dict[Path, str] = field(default_factory=dict)


def count_values(records: Sequence[MaskRecord]) -> ValueCounts:
    """Counts the values of the mask files of some photos; those without one are left out."""
    paths = [record.mask for record in records if record.mask is not None]
    found = ValueCounts()
    for path, seen in zip(paths, in_threads(_look, paths), strict=True):
        _add(found, path, seen)
    return found


def _look(path: Path) -> tuple[bool, npt.NDArray[Any], npt.NDArray[Any]] | str:
    """Whether a mask holds colors, its values and how often each is there; or what is wrong with it."""
    try:
        values = read_mask_values(path)
    except DatasetError as error:
        return str(error)
    is_color = values.ndim == 3
    return (is_color, *np.unique(pack_colors(values) if is_color else values, return_counts=True))


def _add(found: ValueCounts, path: Path, seen: tuple[bool, Any, Any] | str) -> None:
    if isinstance(seen, str):
        found.faults[path] = seen
        return
    is_color, values, counts = seen
    if is_color:
        found.colors.append(path)
        if len(found.color_pixels) < _MOST_COLORS:
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                found.color_pixels[unpack(value)] += count
        return
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        found.pixels[value] += count
        found.files.setdefault(value, []).append(path)
