"""Many small images on one large one, with captions and colored frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from tao_like.data.images.sample import ImageRecord
from tao_like.errors import DatasetError
from tao_like.plots.palette import FAINT, INK, WRONG
from tao_like.plots.text import fit_text, load_font
from tao_like.runtime.inputs.image import Window, read_image

_PAPER, _MAT, _LINE = "#ffffff", "#f2f2f2", "#d9d9d9"

_MARGIN = 24
_GAP = 14
_FRAME = 5
_CAPTION_SIZE = 14
_HEADING_SIZE = 19
_TITLE_SIZE = 26
_LEADING = 1.35


class Tile(NamedTuple):
    """One small image.

    Attributes:
        image: The image, in any size.
        caption: Text below it; further lines after line breaks.
        color: Color of the frame; None: a thin grey one.
    """

    image: Image.Image
    caption: str = ""
    color: str | None = None


def contact_sheet(
    rows: Sequence[Sequence[tuple[Image.Image, str, str | None]]],
    *,
    headings: Sequence[str] | None = None,
    title: str = "",
    tile: int = 168,
) -> Image.Image:
    """Draws rows of images, each with a caption and a frame.

    Args:
        rows: Tiles, or plain (image, caption, color).
        headings: A line above each row, such as a class name.
        title: A line above all.
        tile: Side of the square that an image is fitted into, in pixels. Images keep their shape; small
            ones are enlarged by whole factors, so that their pixels stay sharp.

    Returns:
        An RGB image, wide enough for the longest row.

    Raises:
        ValueError: The number of headings is not that of the rows.
    """
    if headings is not None and len(headings) != len(rows):
        raise ValueError(f"{len(headings)} headings for {len(rows)} rows")
    columns = max([4, *map(len, rows)])
    cell = tile + 2 * _FRAME
    width = 2 * _MARGIN + columns * cell + (columns - 1) * _GAP
    caption_line = round(_CAPTION_SIZE * _LEADING)
    heading_height = round(_HEADING_SIZE * 1.9) if headings is not None else 0
    title_height = round(_TITLE_SIZE * 1.8) if title else 0
    lines = [max((len(caption.splitlines()) for _, caption, _ in row), default=0) for row in rows]
    heights = [heading_height + cell + count * caption_line + 6 + _GAP for count in lines]

    sheet = Image.new("RGB", (width, 2 * _MARGIN + title_height + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        font = load_font(_TITLE_SIZE, title)
        draw.text((_MARGIN, _MARGIN), fit_text(title, font, width - 2 * _MARGIN), fill=INK, font=font)
    top = _MARGIN + title_height
    for index, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if headings is not None:
            _draw_heading(draw, headings[index], top, width)
        for column, each in enumerate(row):
            left = _MARGIN + column * (cell + _GAP)
            _draw_tile(sheet, draw, Tile(*each), (left, top + heading_height), tile)
        top += height
    return sheet


def spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers below a count, spread evenly."""
    shown = min(most, count)
    return [number * count // shown for number in range(shown)]


def in_rows(tiles: Iterable[Tile], columns: int = 6) -> list[list[Tile]]:
    """A plain list of tiles as rows of so many columns, for ``contact_sheet``."""
    every = list(tiles)
    return [every[start : start + columns] for start in range(0, len(every), columns)]


def class_overview(
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    *,
    columns: int = 8,
    most_classes: int = 40,
    window: Window | None = None,
) -> Image.Image:
    """A contact sheet with a row of examples of each class, spread evenly over its images.

    An image that cannot be read is shown as an empty tile that says so.

    Args:
        records: The images.
        classes: Classes to show, in this order.
        columns: Examples of a class.
        most_classes: Further classes are left out, and the title says so.
        window: Values of 16-bit images that become black and white.
    """
    shown = list(classes[:most_classes])
    rows, headings = [], []
    for label in shown:
        members = [record for record in records if label in record.labels]
        count = "1 image" if len(members) == 1 else f"{len(members)} images"
        headings.append(f"{label} · {count}")
        rows.append([_example(record, window) for record in _spread(members, columns)])
    title = f"{len(records)} images, {len(classes)} classes"
    if len(shown) < len(classes):
        title += f" (the first {len(shown)} are shown)"
    return contact_sheet(rows, headings=headings, title=title)


def _example(record: ImageRecord, window: Window | None) -> Tile:
    try:
        return Tile(read_image(record.path, window), record.path.name)
    except DatasetError:
        return Tile(Image.new("RGB", (1, 1), _MAT), f"{record.path.name}\nunreadable", WRONG)


def _spread(members: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """So many members, from the first to the last at even distances."""
    if len(members) <= count:
        return list(members)
    step = (len(members) - 1) / max(count - 1, 1)
    return [members[round(position * step)] for position in range(count)]


def _draw_heading(draw: ImageDraw.ImageDraw, heading: str, top: int, width: int) -> None:
    font = load_font(_HEADING_SIZE, heading)
    text = fit_text(heading, font, width - 2 * _MARGIN)
    draw.text((_MARGIN, top), text, fill=INK, font=font)
    line = top + round(_HEADING_SIZE * 1.45)
    draw.line([(_MARGIN, line), (width - _MARGIN, line)], fill=_LINE, width=1)


def _draw_tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, position: tuple[int, int], side: int
) -> None:
    left, top = position
    outer = (left, top, left + side + 2 * _FRAME - 1, top + side + 2 * _FRAME - 1)
    draw.rectangle(outer, fill=_MAT, outline=tile.color or _LINE, width=_FRAME if tile.color else 1)
    image = _fitted(tile.image, side)
    offset = (left + _FRAME + (side - image.width) // 2, top + _FRAME + (side - image.height) // 2)
    sheet.paste(image, offset)
    baseline = outer[3] + 6
    for number, line in enumerate(tile.caption.splitlines()):
        font = load_font(_CAPTION_SIZE, line)
        text = fit_text(line, font, side + 2 * _FRAME)
        fill = INK if number == 0 else FAINT
        draw.text((left, baseline + number * round(_CAPTION_SIZE * _LEADING)), text, fill=fill, font=font)


def _fitted(image: Image.Image, side: int) -> Image.Image:
    image = image.convert("RGB")
    longest = max(image.size)
    if 2 * longest <= side:
        factor = side // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = side / longest
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
