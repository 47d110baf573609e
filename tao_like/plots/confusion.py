"""The confusion matrix as an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.plots.canvas import canvas, to_image
from tao_like.plots.palette import ACCENT, FAINT, WRONG, rgb
from tao_like.plots.text import shorten

_NAMED = 60
"""Classes up to which there is room for names."""
_COUNTED = 30
"""And for counts in the cells."""


def draw_confusion_matrix(matrix: npt.NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """Counts: rows are targets, columns predictions, darker where the fraction of the row is larger.

    Args:
        matrix: (N, N) counts.
        names: of rows and columns; with so many that cells are small, names and counts are left out.
    """
    count = len(names)
    side = 250 + max(160, min(1200, 48 * count))
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with canvas(side, side, names) as figure:
        axes = figure.subplots()
        axes.imshow(_colors(fractions), interpolation="nearest" if count <= 300 else "auto")
        axes.set_title("darker: a larger fraction of the target's row", fontsize=8.5, color=FAINT)
        axes.set_xlabel("prediction")
        axes.set_ylabel("target")
        axes.grid(visible=False)
        if count <= _NAMED:
            shown = [shorten(name, 24) for name in names]
            room = max(160, min(1200, 48 * count)) / max(count, 1)
            rotation = 90 if 8 * max(map(len, shown), default=0) > room else 0
            axes.set_xticks(range(count), shown, rotation=rotation)
            axes.set_yticks(range(count), shown)
            axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
            axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
            axes.grid(which="minor", color="white", linewidth=1.5)
            axes.tick_params(which="both", length=0)
        if count <= _COUNTED:
            for row, column in np.argwhere(matrix):
                color = "white" if fractions[row, column] > 0.4 else "black"
                text, size = f"{int(matrix[row, column])}", 9.5 if matrix.max() < 10_000 else 7
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
        return to_image(figure)


def _colors(fractions: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Colors (N, N, 3): blue on the diagonal and red beside it, paler where the fraction is smaller."""
    base = np.where(np.eye(len(fractions), dtype=bool)[..., None], rgb(ACCENT), rgb(WRONG))
    # The square root makes rare confusions visible.
    pale = np.array(245.0) - (245.0 - base) * np.sqrt(fractions)[..., None]
    colors: npt.NDArray[np.uint8] = pale.round().astype(np.uint8)
    return colors
