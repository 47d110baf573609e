"""A matrix of similarities as an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.plots.canvas import canvas, to_image
from tao_like.plots.palette import ACCENT, FAINT, rgb
from tao_like.plots.text import shorten

_NUMBERED = 16
"""Columns up to which there is room for numbers in the cells."""
_CELL = 44
_LONGEST_NAME = 28


def draw_similarity(
    values: npt.NDArray[np.floating], rows: Sequence[str], columns: Sequence[str]
) -> Image.Image:
    """Cosines: darker where a row's thing is nearer to the column's.

    Args:
        values: (N, M), -1 to 1.
        rows: names of the rows, such as images.
        columns: names of the columns, such as texts.
    """
    size = [max(200, min(1400, _CELL * count)) for count in (len(columns), len(rows))]
    spread = max(float(np.ptp(values)), 1e-6)
    fractions = (values - values.min()) / spread
    colors = (245.0 - (245.0 - np.array(rgb(ACCENT))) * fractions[..., None]).round().astype(np.uint8)
    shown = [[shorten(name, _LONGEST_NAME) for name in names] for names in (rows, columns)]
    with canvas(260 + size[0], 220 + size[1], [*rows, *columns]) as figure:
        axes = figure.subplots()
        axes.imshow(colors, interpolation="nearest", aspect="auto")
        axes.set_title("cosine of image (row) and text (column); darker: nearer", fontsize=8.5, color=FAINT)
        axes.grid(visible=False)
        axes.set_yticks(range(len(rows)), shown[0])
        axes.set_xticks(range(len(columns)), shown[1], rotation=90 if max(map(len, shown[1])) > 3 else 0)
        axes.tick_params(length=0)
        if len(columns) <= _NUMBERED:
            for row, column in np.ndindex(*values.shape):
                color = "white" if fractions[row, column] > 0.5 else "black"
                text = f"{values[row, column]:.2f}"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7.5)
        return to_image(figure)
