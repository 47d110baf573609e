"""Several pictures as one, and the axes of charts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image


def picture_grid(pictures: Sequence[Image.Image], columns: int = 4, gap: int = 6) -> Image.Image:
    """Pictures side by side in rows on white, each in a cell as large as the largest.

    Args:
        pictures: at least one.
        columns: cells a row.
        gap: pixels between cells.
    """
    columns = min(columns, len(pictures))
    width = max(picture.width for picture in pictures) + gap
    height = max(picture.height for picture in pictures) + gap
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * width + gap, rows * height + gap), "white")
    for number, picture in enumerate(pictures):
        grid.paste(picture.convert("RGB"), (gap + number % columns * width, gap + number // columns * height))
    return grid


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """About so many values of 1, 2 or 5 times a power of ten, in even steps, from ``low`` to ``high``."""
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
