"""Text in images: fonts that have its letters, and text that fits a width."""

from __future__ import annotations

import logging
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

FAMILY = "DejaVu Sans"
"""The font that matplotlib ships: images look the same on every machine."""
# Fonts of the system that are asked first for letters that DejaVu lacks; others follow by name.
_WIDE_FONTS = (
    "Noto Sans CJK",
    "Noto Sans",
    "Source Han Sans",
    "WenQuanYi",
    "Droid Sans Fallback",
    "Arial Unicode",
)
# They hold signs for missing letters, or images that cannot be drawn as outlines.
_UNFIT_FONTS = ("Last Resort", "LastResort", "Emoji")
_ELLIPSIS = "…"
_MATPLOTLIB = threading.RLock()
"""matplotlib's settings, font cache and logger belong to the whole process: one thread draws at a time."""


@contextmanager
def quiet_matplotlib() -> Iterator[None]:
    """Hide what matplotlib logs: that it looks for fonts, or that the home folder cannot be written.

    Threads go through this one after the other.
    """
    log = logging.getLogger("matplotlib")
    with _MATPLOTLIB:
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


@lru_cache(maxsize=1)
def _own_file() -> Path:
    """DejaVu Sans within the installed matplotlib, found without importing it."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(maxsize=256)
def letters_of(file: Path) -> frozenset[int]:
    """The code points that a font file can draw; empty for a file that cannot be read."""
    with quiet_matplotlib():
        from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(str(file)).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def system_fonts() -> list[tuple[str, Path]]:
    """Family and file of the fonts that the system has, the likeliest to help first."""
    with quiet_matplotlib():
        from matplotlib.font_manager import fontManager

    known: list[Any] = [
        font
        for font in fontManager.ttflist
        if font.style == "normal" and not any(word in font.name for word in _UNFIT_FONTS)
    ]

    def order(font: Any) -> tuple[int, int, str, str]:
        rank = next((n for n, name in enumerate(_WIDE_FONTS) if font.name.startswith(name)), len(_WIDE_FONTS))
        weight = font.weight if isinstance(font.weight, int) else 400
        return rank, abs(weight - 400), font.name, font.fname

    return [(font.name, Path(font.fname)) for font in sorted(known, key=order)]


@lru_cache(maxsize=256)
def _font_for(letters: frozenset[int]) -> tuple[str, Path] | None:
    """The first font of the system that has all of these letters."""
    return next(((name, file) for name, file in system_fonts() if letters <= letters_of(file)), None)


def _lacking(text: str) -> frozenset[int]:
    """Letters that DejaVu Sans does not have."""
    if text.isascii():
        return frozenset()
    return frozenset(ord(letter) for letter in text if not letter.isspace()) - letters_of(_own_file())


def families(text: str) -> list[str]:
    """Font families for matplotlib, which takes each letter from the first that has it."""
    found = {_font_for(frozenset({letter})) for letter in sorted(_lacking(text))}
    return [FAMILY, *sorted({name for name, _ in filter(None, found)})]


@lru_cache(maxsize=64)
def _load(file: Path, size: int) -> Font:
    return ImageFont.truetype(str(file), size)


def load_font(size: int, text: str = "") -> Font:
    """A sans-serif font for Pillow: DejaVu Sans, or one of the system's that has the letters of ``text``.

    Args:
        size: height in pixels.
        text: what is to be written. Pillow draws one text with one font.
    """
    text = _without_surrogates(text)
    lacking = _lacking(text)
    if not lacking:
        return _load(_own_file(), size)
    letters = frozenset(ord(letter) for letter in text if not letter.isspace())
    # A font may have the foreign letters alone; then those of our own alphabet become codes.
    found = _font_for(letters) or _font_for(lacking)
    return _load(found[1] if found else _own_file(), size)


def _without_surrogates(text: str) -> str:
    # File names may hold bytes that are no text; Python carries them as lone surrogates.
    return text.encode("utf-8", "replace").decode("utf-8")


def _replaced(letter: str) -> str:
    """A letter that cannot be drawn: without its accents, else its code, so that two names still differ."""
    base = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    if base and base != letter and not _lacking(base):
        return base
    return letter.encode("ascii", "backslashreplace").decode("ascii")


def printable(text: str) -> str:
    """One line of text with what neither DejaVu nor any font of the system can draw replaced."""
    text = " ".join(_without_surrogates(text).split())
    text = "".join("?" if unicodedata.category(letter) == "Cc" else letter for letter in text)
    hopeless = {chr(letter) for letter in _lacking(text) if _font_for(frozenset({letter})) is None}
    return "".join(_replaced(letter) if letter in hopeless else letter for letter in text)


def drawable(text: str, font: Font) -> str:
    """The text with what the font cannot draw replaced: letters without their accents, else their code."""
    text = _without_surrogates(text)
    if text.isascii():
        return text
    has = letters_of(Path(str(font.path)))
    return "".join(letter if ord(letter) in has or letter.isspace() else _replaced(letter) for letter in text)


def shorten(text: str, most: int) -> str:
    """One printable line of at most so many letters; the middle goes, as names often differ at the end."""
    text = printable(text)
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return text[: most - 1 - end].rstrip() + _ELLIPSIS + text[len(text) - end :].lstrip()


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
