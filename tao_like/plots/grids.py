"""Several pictures as one."""

from __future__ import annotations

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
