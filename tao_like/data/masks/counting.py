"""Counting the values of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tao_like.data.masks.files import is_gray, read_mask_values
from tao_like.data.masks.record import MaskRecord
from tao_like.data.masks.values import pack_colors, unpack
from tao_like.data.threads import in_threads
from tao_like.errors import DatasetError

_MOST_COLORS = 4096


@dataclass
class ValueCounts:
    """The values of some masks. Beside color masks, those of colors that are all gray are such too.

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
    gray: list[tuple[Path, _Counted]] = []
    for path, seen in zip(paths, in_threads(_look, paths), strict=True):
        if isinstance(seen, str):
            found.faults[path] = seen
        elif seen.is_gray:
            gray.append((path, seen))
        else:
            _add(found, path, seen, as_colors=seen.is_color)
    for path, counted in gray:
        _add(found, path, counted, as_colors=bool(found.colors))
    return found


class _Counted(NamedTuple):
    """The values of a mask, colors as one number, and how often each is there."""

    is_color: bool
    is_gray: bool
    values: npt.NDArray[Any]
    counts: npt.NDArray[Any]


def _look(path: Path) -> _Counted | str:
    """The values of a mask, or what is wrong with it."""
    try:
        values = read_mask_values(path, colors=True)
    except DatasetError as error:
        return str(error)
    is_color = values.ndim == 3
    unique = np.unique(pack_colors(values) if is_color else values, return_counts=True)
    return _Counted(is_color, is_gray(values), *unique)


def _add(found: ValueCounts, path: Path, seen: _Counted, *, as_colors: bool) -> None:
    pairs = zip(seen.values.tolist(), seen.counts.tolist(), strict=True)
    if as_colors:
        found.colors.append(path)
        if len(found.color_pixels) < _MOST_COLORS:
            for value, count in pairs:
                found.color_pixels[unpack(value)] += count
        return
    for value, count in pairs:
        number = unpack(value)[0] if seen.is_color else value
        found.pixels[number] += count
        found.files.setdefault(number, []).append(path)
