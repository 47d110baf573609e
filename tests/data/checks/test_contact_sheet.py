"""Contact sheets and the text on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tao_like.data.checks.contact_sheet import Tile, class_overview, contact_sheet, in_rows
from tao_like.data.images.class_folders import read_class_folders
from tao_like.plots.palette import RIGHT, WRONG
from tao_like.plots.text import fit_text, load_font

Paint = Callable[..., Path]


def has_color(sheet: Image.Image, color: str | tuple[int, int, int]) -> int:
    rgb = np.asarray(Image.new("RGB", (1, 1), color))[0, 0]
    return int((np.asarray(sheet) == rgb).all(axis=-1).sum())


def test_every_image_is_there_in_its_frame() -> None:
    colors = [(200, 10, 20), (20, 200, 10), (10, 20, 200)]
    tiles = [
        Tile(Image.new("RGB", (300, 300), colors[0]), "one", RIGHT),
        Tile(Image.new("RGB", (300, 150), colors[1]), "two", WRONG),
        Tile(Image.new("L", (10, 10), 77), "three"),
    ]
    sheet = contact_sheet([tiles], tile=100)
    assert has_color(sheet, colors[0]) == 100 * 100
    assert has_color(sheet, colors[1]) == 100 * 50
    assert has_color(sheet, (77, 77, 77)) == 100 * 100
    # A frame of five pixels around a square of 100.
    assert has_color(sheet, RIGHT) == has_color(sheet, WRONG) == 110 * 110 - 100 * 100


def test_small_images_keep_sharp_pixels() -> None:
    checker = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).resize(
        (6, 6), Image.Resampling.NEAREST
    )
    sheet = contact_sheet([[(checker, "", WRONG)]], tile=100)
    # 6 pixels are enlarged 16 times; nothing between black and white arises.
    assert has_color(sheet, "black") == 96 * 96 // 2


def test_size_headings_and_rows() -> None:
    tiles = [Tile(Image.new("RGB", (50, 50), "red"), "a\nb") for _ in range(7)]
    assert [len(row) for row in in_rows(tiles, 3)] == [3, 3, 1]
    plain = contact_sheet(in_rows(tiles, 7), tile=100)
    assert plain.mode == "RGB"
    assert plain.width >= 7 * 110
    headed = contact_sheet(in_rows(tiles, 7), tile=100, headings=["class"], title="title")
    assert headed.height > plain.height
    with pytest.raises(ValueError, match="2 headings for 1 rows"):
        contact_sheet(in_rows(tiles, 7), headings=["a", "b"])


def test_long_captions_stay_within_their_tile() -> None:
    words = "a very long caption that goes on and on"
    blank = Image.new("RGB", (20, 20), "white")
    sheet = np.asarray(contact_sheet([[(blank, words, None), (blank, "", None)]], tile=100).convert("L"))
    captions = sheet[24 + 110 :]
    first, second = captions[:, 24 : 24 + 110], captions[:, 24 + 110 :]
    assert (first < 128).any()
    assert not (second < 128).any()


def test_the_overview_shows_every_class_and_survives_bad_files(tmp_path: Path, paint: Paint) -> None:
    for label in ("ants", "bees", "cicadas"):
        for i in range(12):
            paint(tmp_path / label / f"{i}.png", seed=i)
    (tmp_path / "bees" / "0.png").write_text("broken")
    records = read_class_folders(tmp_path)
    classes = ["ants", "bees", "cicadas"]
    sheet = class_overview(records, classes, columns=5)
    assert has_color(sheet, WRONG) > 0
    assert class_overview(records, classes, columns=5, most_classes=2).height < sheet.height


def test_text_is_cut_to_the_width_and_no_shorter() -> None:
    font = load_font(14)
    text = "a caption with several words"
    assert fit_text(text, font, 1000) == text
    for width in (30, 60, 90, 140):
        cut = fit_text(text, font, width)
        kept = cut.removesuffix("…")
        assert text.startswith(kept)
        assert font.getlength(cut) <= width
        assert font.getlength(text[: len(kept) + 2].rstrip() + "…") > width
    assert fit_text("two\nlines  and   gaps", font, 1000) == "two lines and gaps"


def test_a_name_that_is_no_text_does_not_stop_a_sheet() -> None:
    contact_sheet([[(Image.new("RGB", (9, 9)), "a\udcff\nß 猫", None)]], headings=["\udcff"], title="日")
