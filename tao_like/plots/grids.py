"""Several images as one."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image


def image_grid(images: Sequence[Image.Image], columns: int = 4, gap: int = 6) -> Image.Image:
    """Images side by side in rows on white, each in a cell as large as the largest.

    Args:
        images: at least one.
        columns: cells a row.
        gap: pixels between cells.
    """
    columns = min(columns, len(images))
    width = max(image.width for image in images) + gap
    height = max(image.height for image in images) + gap
    rows = -(-len(images) // columns)
    grid = Image.new("RGB", (columns * width + gap, rows * height + gap), "white")
    for number, image in enumerate(images):
        grid.paste(image.convert("RGB"), (gap + number % columns * width, gap + number // columns * height))
    return grid
