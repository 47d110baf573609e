"""Names in every alphabet are drawn, or replaced so that they can still be told apart."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tao_like.plots import text as fonts
from tao_like.plots.charts import Line, Panel, draw_panels
from tao_like.plots.confusion import draw_confusion_matrix
from tao_like.plots.text import drawable, families, load_font, printable, shorten


@pytest.fixture
def no_other_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system that has no font beside the one that matplotlib ships."""
    monkeypatch.setattr(fonts, "system_fonts", list)
    fonts._font_for.cache_clear()
    yield
    fonts._font_for.cache_clear()


def test_most_alphabets_are_kept() -> None:
    for name in ("Łódź é ß", "собака", "Ελληνικά", "قط"):
        assert drawable(name, load_font(14)) == printable(name) == name
        assert families(name) == ["DejaVu Sans"]


@pytest.mark.usefixtures("no_other_fonts")
def test_letters_that_no_font_has_become_their_codes() -> None:
    assert printable("猫 cat") == drawable("猫 cat", load_font(14, "猫 cat")) == "\\u732b cat"
    assert printable("猫") != printable("犬")
    # A letter with an accent that DejaVu lacks keeps its base; full-width letters become plain ones.
    assert printable("\uff21b") == "Ab"


def test_another_font_of_the_system_is_taken_for_what_dejavu_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    mono = fonts._own_file().with_name("STIXGeneral.ttf")
    missing = sorted(fonts.letters_of(mono) - fonts.letters_of(fonts._own_file()))[0]
    monkeypatch.setattr(fonts, "system_fonts", lambda: [("STIXGeneral", mono)])
    fonts._font_for.cache_clear()
    try:
        assert families(chr(missing)) == ["DejaVu Sans", "STIXGeneral"]
        assert Path(str(load_font(14, chr(missing)).path)) == mono
        assert printable(chr(missing)) == chr(missing)
    finally:
        fonts._font_for.cache_clear()


def test_what_is_no_text_is_replaced() -> None:
    # Undecodable bytes of a file name, line breaks and escapes.
    assert printable("a\udcffb\n\x1b[31m") == "a?b ?[31m"


def test_long_names_keep_both_ends() -> None:
    assert shorten("short", 10) == "short"
    assert shorten("backbone.layer1.0.conv1", 15) == "backbon….conv1"[:8] + "0.conv1"[-7:]
    assert len(shorten("x" * 100, 15)) == 15


def test_odd_names_are_drawn_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    names = ["_ground", "$5 or $6", "猫", "a\udcff", "", "x" * 300, "قط"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion_matrix(np.eye(len(names), dtype=np.int64), names)
        lines = [Line(name, [0, 1], [number, number + 1]) for number, name in enumerate(names)]
        draw_panels([Panel("猫 $x$", lines)])
    assert capfd.readouterr() == ("", "")


def test_every_named_line_has_its_name_in_the_legend() -> None:
    """matplotlib by itself leaves out names that begin with an underscore, and warns."""
    with_name = np.asarray(draw_panels([Panel("", [Line("_a", [0, 1], [0, 1])])], legend="beside"))
    without = np.asarray(draw_panels([Panel("", [Line("", [0, 1], [0, 1])])], legend="beside"))
    assert with_name.shape[1] > without.shape[1]
    right = with_name[:, without.shape[1] + 40 :]
    assert (right.min(axis=2) < 120).any()


def test_pillow_draws_what_the_font_has() -> None:
    image = Image.new("L", (60, 20), 255)
    ImageDraw.Draw(image).text((2, 2), "собака", fill=0, font=load_font(12, "собака"))
    assert (np.asarray(image) < 100).sum() > 40
