"""The one module that chooses colors: of classes, of right and wrong, of text and grid."""

from __future__ import annotations

import colorsys

PALETTE = (
    # People with any color vision tell these apart: Okabe and Ito (2008), and a violet that keeps its
    # distance from them under simulated protanopia, deuteranopia and tritanopia.
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#7F2AE8"),
    # Each was the color farthest from all before it, in CIE Lab.
    *("#28D228", "#5A3C1E", "#FF005A", "#CDB97D", "#FF00C3", "#A587FF", "#87E169", "#780F78"),
    *("#004B4B", "#4B6900", "#87003C", "#5AE1E1", "#003CA5", "#FF9687"),
)
"""Colors of the first classes, of one figure's lines, and the like."""

RIGHT = "#009E73"
WRONG = "#D55E00"
UNSURE = "#E69F00"
NEUTRAL = "#666666"
IGNORED = "#888888"
"""Of what belongs to no class."""
TARGET = "#FFFFFF"
"""Of target boxes, which lie below the predicted ones."""

INK = "#222222"
FAINT = "#666666"
GRID = "#E2E2E2"
PALE = "#D7DEE8"
"""Of what there was, behind what is left of it."""
ACCENT = "#0072B2"
"""Of bars and lines that stand for no class."""

_GOLDEN = 0.618034
_TONES = ((0.95, 0.62), (0.5, 0.95), (0.75, 0.8))


def class_color(number: int) -> str:
    """The color of a class, as ``#RRGGBB``; gray for numbers below 0, which stand for no class.

    Beyond `PALETTE` hues go on by the golden angle in three tones, so that hardly two classes look alike.
    """
    if number < 0:
        return IGNORED
    if number < len(PALETTE):
        return PALETTE[number]
    saturation, value = _TONES[number % len(_TONES)]
    channels = colorsys.hsv_to_rgb(number * _GOLDEN % 1, saturation, value)
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in channels)


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue of ``#RRGGBB``, 0 to 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def paler(color: tuple[int, int, int], strength: float) -> tuple[int, int, int]:
    """A color mixed with white; ``strength`` 1 leaves it as it is, 0 gives white."""
    red, green, blue = (round(255 - (255 - channel) * strength) for channel in color)
    return red, green, blue


def ink_on(color: str) -> str:
    """Black or white, whichever is easier to read on a ground of this color."""
    red, green, blue = (channel / 255 for channel in rgb(color))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    # The contrast rule of WCAG: (lighter + 0.05) / (darker + 0.05); equal for black and white at 0.18.
    return "#000000" if luminance > 0.179 else "#FFFFFF"
