"""The colours of classes, and precision over recall of each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tao_like.plots.text import fit_text, load_font

# Colours that people with any colour vision tell apart (Okabe and Ito 2008).
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_PLOT, _MARGIN = 480, 56

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def class_colour(number: int) -> str:
    """The colour of a class."""
    return PALETTE[number % len(PALETTE)]


def draw_curves(curves: Mapping[str, tuple[Curve, tuple[float, float, float]]]) -> Image.Image:
    """Precision over recall of each class at overlap 0.5, with a dot at its threshold.

    Args:
        curves: class name to precision and recall of the first 1, 2, ... answers, and precision, recall and
            F1 at the threshold.
    """
    image = Image.new("RGB", (_PLOT + 2 * _MARGIN + 180, _PLOT + 2 * _MARGIN), "white")
    pen = ImageDraw.Draw(image)
    font = load_font(13)

    def point(recall: float, precision: float) -> tuple[float, float]:
        return _MARGIN + recall * _PLOT, _MARGIN + (1 - precision) * _PLOT

    for tick in range(6):
        share = tick / 5
        pen.line([point(share, 0), point(share, 1)], fill="#dddddd")
        pen.line([point(0, share), point(1, share)], fill="#dddddd")
        pen.text(
            (point(share, 0)[0], point(0, 0)[1] + 12), f"{share:.1f}", fill="black", font=font, anchor="mm"
        )
        pen.text((_MARGIN - 18, point(0, share)[1]), f"{share:.1f}", fill="black", font=font, anchor="mm")
    for number, (name, ((precision, recall), chosen)) in enumerate(curves.items()):
        colour = class_colour(number)
        points = [point(float(r), float(p)) for p, r in zip(precision, recall, strict=True)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2)
        x, y = point(chosen[1], chosen[0])
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline="black")
        if number < 24:
            top = _MARGIN + number * 20
            pen.rectangle((_PLOT + _MARGIN + 20, top, _PLOT + _MARGIN + 32, top + 12), fill=colour)
            text = fit_text(f"{name}  F1 {chosen[2]:.2f}", font, 150)
            pen.text((_PLOT + _MARGIN + 38, top - 2), text, fill="black", font=font)
    pen.text((_MARGIN + _PLOT / 2, _PLOT + _MARGIN + 36), "recall", fill="black", font=font, anchor="mm")
    pen.text((6, _MARGIN - 30), "precision (overlap 0.5); dots: at the threshold", fill="black", font=font)
    return image
