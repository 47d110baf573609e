"""Images of detection: boxes on an image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from tao_like.plots.palette import TARGET, ink_on
from tao_like.plots.text import fit_text, load_font
from tao_like.tasks.common.boxes.box_predictions import DrawnBox

SHORTEST_SIDE, LONGEST_SIDE = 480, 1280


def draw_boxes(
    image: Image.Image, found: Sequence[DrawnBox], targets: Sequence[Sequence[float]] = ()
) -> Image.Image:
    """The image with predictions in their colors and targets as thin white lines.

    Small images are enlarged and large ones shrunk, so that lines and words can be seen.
    """
    scale = max(1.0, SHORTEST_SIDE / max(image.size))
    scale = min(scale, LONGEST_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    colors = image if image.mode == "RGB" else image.convert("RGB")
    canvas = colors.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    for target in targets:
        pen.rectangle([value * scale for value in target], outline=TARGET, width=1)
    for box, text, color in found:
        corners = [value * scale for value in box]
        pen.rectangle(corners, outline=color, width=2)
        if text:
            _label(pen, corners, text, color, canvas.width)
    return canvas


def _label(pen: ImageDraw.ImageDraw, corners: Sequence[float], text: str, color: str, width: int) -> None:
    """Words above a box, or within it at the upper edge; moved left where the image ends."""
    font = load_font(13, text)
    shown = fit_text(text, font, width - 6)
    length = font.getlength(shown) + 6
    left, top = max(0.0, min(corners[0], width - length)), max(0.0, corners[1] - 16)
    pen.rectangle((left, top, left + length, top + 16), fill=color)
    pen.text((left + 3, top + 8), shown, fill=ink_on(color), font=font, anchor="lm")
