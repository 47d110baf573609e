"""Text in pictures: a font that has accents, and text that fits a width."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font has hardly more than ASCII, so fonts that systems come with are tried first.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "Arial.ttf",
    "arial.ttf",
)
_PILLOW_FONT = "Aileron"
_PLAIN_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d"}
    | {"\u2013": "-", "\u2014": "-", "\u00b7": "-", "\u00d7": "x"}
)
_ELLIPSIS = "…"


@lru_cache(maxsize=32)
def load_font(size: int) -> Font:
    """A sans-serif font: one of the system's, else Pillow's own.

    Args:
        size: Height in pixels.
    """
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def drawable(text: str, font: Font) -> str:
    """The text with what the font cannot draw replaced: letters without their accents, ``?`` for the rest."""
    # File names may hold bytes that are no text; Python carries them as lone surrogates.
    text = text.encode("utf-8", "replace").decode("utf-8")
    if not isinstance(font, ImageFont.FreeTypeFont) or font.getname()[0] != _PILLOW_FONT:
        return text
    decomposed = unicodedata.normalize("NFKD", text.replace(_ELLIPSIS, "\0").translate(_PLAIN_LETTERS))
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return plain.encode("ascii", "replace").decode("ascii").replace("\0", _ELLIPSIS)


def fit_text(text: str, font: Font, width: float) -> str:
    """One line of text cut to a width in pixels, with an ellipsis where something was cut."""
    text = drawable(" ".join(text.split()), font)
    if font.getlength(text) <= width:
        return text
    # The longest beginning that fits, found by halving.
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if font.getlength(text[:middle].rstrip() + _ELLIPSIS) <= width:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + _ELLIPSIS
