"""Pictures of detection: boxes on a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from tao_like.plots.text import Font, drawable, load_font
from tao_like.tasks.common.box_predictions import DrawnBox

TRUTH = "#ffffff"
SHORTEST_SIDE, LONGEST_SIDE = 480, 1280


def draw_boxes(
    picture: Image.Image, found: Sequence[DrawnBox], truths: Sequence[Sequence[float]] = ()
) -> Image.Image:
    """The picture with answers in their colours and truths as thin white lines.

    Small pictures are enlarged and large ones shrunk, so that lines and words can be seen.
    """
    scale = max(1.0, SHORTEST_SIDE / max(picture.size))
    scale = min(scale, LONGEST_SIDE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    canvas = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    font = load_font(13)
    for truth in truths:
        pen.rectangle([value * scale for value in truth], outline=TRUTH, width=1)
    for box, text, colour in found:
        corners = [value * scale for value in box]
        pen.rectangle(corners, outline=colour, width=2)
        if text:
            _label(pen, corners, drawable(text, font), colour, font)
    return canvas


def _label(
    pen: ImageDraw.ImageDraw,
    corners: Sequence[float],
    text: str,
    colour: str,
    font: Font,
) -> None:
    left, top = corners[0], max(0.0, corners[1] - 16)
    pen.rectangle((left, top, left + font.getlength(text) + 6, top + 16), fill=colour)
    pen.text((left + 3, top + 1), text, fill="black", font=font)
