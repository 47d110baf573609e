"""A sample as a card: its image in a colored frame, with lines of text below."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from tao_like.plots.palette import FAINT, INK, NEUTRAL, RIGHT, WRONG
from tao_like.plots.text import fit_text, load_font

__all__ = ["NEUTRAL", "RIGHT", "WRONG", "draw_card", "overlay_heatmap"]

CARD_SIDE = 224
LINE_HEIGHT = 18
FONT_SIZE = 14


def draw_card(
    image: Image.Image, lines: list[str], color: str, heatmap: np.ndarray | None = None
) -> Image.Image:
    """The image in a colored frame with lines of text below it.

    Args:
        image: any size; it is fitted into a square.
        lines: each is shortened to the width of the card.
        color: of the frame.
        heatmap: (H, W) from 0 to 1; drawn over the image in red where high.
    """
    if heatmap is not None:
        image = overlay_heatmap(image, heatmap)
    card = Image.new("RGB", (CARD_SIDE + 8, CARD_SIDE + 12 + LINE_HEIGHT * len(lines)), "white")
    enlarged = image.convert("RGB")
    scale = CARD_SIDE / max(enlarged.size)
    size = (max(1, round(enlarged.width * scale)), max(1, round(enlarged.height * scale)))
    enlarged = enlarged.resize(size, Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC)
    card.paste(enlarged, (4 + (CARD_SIDE - size[0]) // 2, 4 + (CARD_SIDE - size[1]) // 2))
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, 0, CARD_SIDE + 7, CARD_SIDE + 7), outline=color, width=4)
    for number, line in enumerate(lines):
        font = load_font(FONT_SIZE, line)
        position = (6, CARD_SIDE + 9 + number * LINE_HEIGHT)
        pen.text(position, fit_text(line, font, CARD_SIDE - 4), fill=FAINT if number else INK, font=font)
    return card


def overlay_heatmap(image: Image.Image, heatmap: np.ndarray) -> Image.Image:
    """The image, dark and grey where ``heatmap`` (H, W, 0 to 1) is low, and as it is where it is high."""
    mask = Image.fromarray((heatmap * 255).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    strength = np.asarray(mask, dtype=np.float32)[..., None] / 255
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    shade = 0.3 * pixels.mean(axis=2, keepdims=True) + np.array([0.0, 10.0, 35.0], dtype=np.float32)
    return Image.fromarray((strength * pixels + (1 - strength) * shade).clip(0, 255).astype(np.uint8))
