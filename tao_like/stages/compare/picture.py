"""A metric against latency, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from tao_like.plots.grids import round_ticks
from tao_like.plots.text import fit_text, load_font
from tao_like.stages.compare.table import Row

SIZE = (900, 560)
LEFT, RIGHT, TOP, BOTTOM = 90, 40, 50, 70
DARK, PALE = (40, 40, 40), (225, 225, 225)
COLOURS = {"bundle": (70, 110, 190), "ONNX fp32": (90, 90, 90), "ONNX int8": (200, 90, 30)}
_ROUND_STEPS = (1, 2, 5)
_LINE = 17  # height of a name
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


def draw_comparison(rows: Sequence[Row], headline: str) -> Image.Image:
    """Latency at batch 1 to the right (logarithmic), the metric upwards, a point a model.

    Args:
        rows: of one comparison, all with a latency.
        headline: the metric.
    """
    image = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(image), load_font(15)
    times = [row["median_ms"] for row in rows]
    values = [row["metrics"][headline] for row in rows]
    low_time, high_time = min(times) / 1.3, max(times) * 1.3
    margin = max(0.15 * (max(values) - min(values)), 0.01)
    low, high = min(values) - margin, max(values) + margin

    def place(time: float, value: float) -> tuple[float, float]:
        across = math.log(time / low_time) / math.log(high_time / low_time)
        up = (value - low) / (high - low)
        width, height = SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM
        return LEFT + across * width, SIZE[1] - BOTTOM - up * height

    for time in _round_times(low_time, high_time):
        x, _ = place(time, low)
        pen.line((x, TOP, x, SIZE[1] - BOTTOM), fill=PALE)
        pen.text((x, SIZE[1] - BOTTOM + 8), f"{time:g}", fill=DARK, font=font, anchor="mt")
    # No metric of a headline goes beyond 1, so no tick does.
    for value in round_ticks(low, min(high, 1.0) if max(values) <= 1 else high):
        _, y = place(low_time, value)
        pen.line((LEFT, y, SIZE[0] - RIGHT, y), fill=PALE)
        pen.text((LEFT - 8, y), f"{value:.3f}", fill=DARK, font=font, anchor="rm")
    pen.rectangle((LEFT, TOP, SIZE[0] - RIGHT, SIZE[1] - BOTTOM), outline=DARK)
    pen.text((SIZE[0] / 2, SIZE[1] - 18), "latency at batch 1, ms", fill=DARK, font=font, anchor="mb")
    pen.text((LEFT, TOP - 12), headline, fill=DARK, font=font, anchor="lb")
    taken: list[Box] = []
    for row, time, value in zip(rows, times, values, strict=True):
        taken.append(_draw_point(pen, place(time, value), row, taken))
    return image


def _draw_point(pen: ImageDraw.ImageDraw, centre: tuple[float, float], row: Row, taken: Sequence[Box]) -> Box:
    """A dot with the model's name on the side where there is room, below the names that are there already.

    Returns:
        Where the name stands.
    """
    x, y = centre
    font = load_font(14)
    colour = COLOURS.get(row["form"], DARK)
    pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=colour)
    name = fit_text(row["name"], font, 260)
    to_the_right = x + 12 + font.getlength(name) < SIZE[0] - RIGHT
    anchor = "lm" if to_the_right else "rm"
    place = (x + 12 if to_the_right else x - 12, y - 8)
    while any(_overlap(pen.textbbox(place, name, font, anchor), other) for other in taken):
        place = (place[0], place[1] + _LINE)
    pen.text(place, name, fill=colour, font=font, anchor=anchor)
    return pen.textbbox(place, name, font, anchor)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _round_times(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 ... between two times."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**exponent for exponent in exponents for step in _ROUND_STEPS]
    return [tick for tick in ticks if low <= tick <= high]
