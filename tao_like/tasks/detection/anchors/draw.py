"""Boxes of a data set and anchors as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tao_like.plots.classes import class_colour
from tao_like.plots.text import Font, load_font
from tao_like.tasks.detection.anchors.clusters import Shapes

_PLOT, _MARGIN, _GAP = 480, 64, 40
_MOST_DOTS = 20000
_TICKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


def draw_anchors(
    shapes: Shapes, by_map: Sequence[Shapes], names: Sequence[str], size: tuple[int, int]
) -> Image.Image:
    """Left: a grey dot for each box at its width and height, a coloured one for each anchor. Right: anchors.

    Args:
        shapes: (N, 2) width and height of the boxes, in pixels of the input.
        by_map: the anchors of each map, likewise.
        names: of the maps.
        size: height and width of the input.
    """
    image = Image.new("RGB", (2 * _PLOT + 2 * _MARGIN + _GAP, _PLOT + 2 * _MARGIN), "white")
    pen, font = ImageDraw.Draw(image), load_font(13)
    _draw_dots(pen, shapes, by_map, font)
    left = _MARGIN + _PLOT + _GAP
    scale = _PLOT / max(size)
    pen.rectangle((left, _MARGIN, left + size[1] * scale, _MARGIN + size[0] * scale), outline="#999999")
    middle = (left + size[1] * scale / 2, _MARGIN + size[0] * scale / 2)
    for number, (name, anchors) in enumerate(zip(names, by_map, strict=True)):
        colour = class_colour(number)
        for width, height in anchors.tolist():
            half = (width * scale / 2, height * scale / 2)
            pen.rectangle(
                (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]),
                outline=colour,
                width=2,
            )
        place = left + number * 150
        pen.rectangle((place, 20, place + 12, 32), fill=colour)
        pen.text((place + 18, 18), f"{name}: {len(anchors)} anchors", fill="black", font=font)
    note = f"in the input of {size[1]} x {size[0]} pixels"
    pen.text((left, _PLOT + _MARGIN + 34), note, fill="black", font=font)
    return image


def _draw_dots(pen: ImageDraw.ImageDraw, shapes: Shapes, by_map: Sequence[Shapes], font: Font) -> None:
    """Width to the right and height upwards, both in logarithms."""
    everything = np.concatenate([shapes, *by_map])
    low = math.log2(max(float(everything.min()), 0.5)) - 0.3
    high = math.log2(float(everything.max())) + 0.3

    def point(width: float, height: float) -> tuple[float, float]:
        across, up = ((math.log2(max(side, 0.5)) - low) / (high - low) for side in (width, height))
        return _MARGIN + across * _PLOT, _MARGIN + (1 - up) * _PLOT

    for tick in _TICKS:
        if low <= math.log2(tick) <= high:
            x, y = point(tick, tick)
            pen.line((x, _MARGIN, x, _MARGIN + _PLOT), fill="#dddddd")
            pen.line((_MARGIN, y, _MARGIN + _PLOT, y), fill="#dddddd")
            pen.text((x, _MARGIN + _PLOT + 12), str(tick), fill="black", font=font, anchor="mm")
            pen.text((_MARGIN - 8, y), str(tick), fill="black", font=font, anchor="rm")
    for width, height in shapes[:: max(1, -(-len(shapes) // _MOST_DOTS))].tolist():
        x, y = point(width, height)
        pen.rectangle((x - 1, y - 1, x + 1, y + 1), fill="#aaaaaa")
    for number, anchors in enumerate(by_map):
        for width, height in anchors.tolist():
            x, y = point(width, height)
            pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=class_colour(number), outline="black")
    pen.text(
        (_MARGIN, 18),
        f"{len(shapes)} boxes: width and height in pixels of the input",
        fill="black",
        font=font,
    )
