"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tao_like.plots.text import Font, fit_text, load_font


def draw_confusion_matrix(matrix: npt.NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """Counts as a picture: rows are truths, columns answers, darker where the share of the row is larger.

    Args:
        matrix: (N, N) counts.
        names: of rows and columns; with so many that cells are small, names and counts are left out.
    """
    count = len(names)
    cell = max(8, min(64, 1400 // max(count, 1)))
    named = cell >= 20
    font = load_font(max(9, min(14, cell // 3)))
    shown = [fit_text(name, font, 140) for name in names]
    margin = 30 + (int(max((font.getlength(name) for name in shown), default=0)) + 10 if named else 0)
    side = margin + count * cell + 12
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row in range(count):
        for column in range(count):
            share = float(shares[row, column])
            base = np.array([26, 110, 60] if row == column else [180, 30, 30])
            colour = tuple(int(value) for value in 255 - (255 - base) * share**0.5)
            left, top = margin + column * cell, margin + row * cell
            pen.rectangle((left, top, left + cell, top + cell), fill=colour, outline=(225, 225, 225))
            if named and matrix[row, column]:
                pen.text(
                    (left + cell / 2, top + cell / 2),
                    str(int(matrix[row, column])),
                    fill="white" if share > 0.4 else "black",
                    font=font,
                    anchor="mm",
                )
    if named:
        _names(image, shown, margin, cell, font)
    pen.text((4, 4), "truth (rows), answer (columns)", fill="#555555", font=load_font(12))
    return image


def _names(
    image: Image.Image,
    names: Sequence[str],
    margin: int,
    cell: int,
    font: Font,
) -> None:
    """Names beside the rows and, turned, above the columns."""
    pen = ImageDraw.Draw(image)
    for number, name in enumerate(names):
        pen.text((margin - 6, margin + (number + 0.5) * cell), name, fill="black", font=font, anchor="rm")
        label = Image.new("RGB", (margin - 24, cell), "white")
        ImageDraw.Draw(label).text((2, cell / 2), name, fill="black", font=font, anchor="lm")
        image.paste(label.rotate(90, expand=True), (margin + number * cell + 1, 22))
