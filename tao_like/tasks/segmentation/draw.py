"""Images of segmentation: masks over photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tao_like.data.masks.values import IGNORE, ClassMap
from tao_like.plots.palette import IGNORED, INK, RIGHT, WRONG, class_color, rgb
from tao_like.plots.text import fit_text, load_font

OPACITY = 0.55
SIDE = 320
"""Longer side of a photo that stands beside others, in pixels."""
SHORTEST_SIDE, LONGEST_SIDE = 480, 1280
"""Of one that stands alone."""
MOST_NAMED = 40
"""Classes up to which all are named below a photo that stands alone: frames of a video are then alike."""
MOST_DRAWN = 2**25
"""Pixels of a photo that is drawn as it is."""
GAP = 4
_LINE, _SWATCH = 18, 12


def class_colors(count: int) -> list[tuple[int, int, int]]:
    """A color for each class."""
    return [rgb(class_color(number)) for number in range(count)]


def overlay(photo: Image.Image, classes: ClassMap) -> Image.Image:
    """The photo with the color of each pixel's class over it; pixels of no class stay as they are."""
    table = np.zeros((256, 3), np.float32)
    table[:255] = class_colors(255)
    pixels = np.asarray(photo.convert("RGB"), np.float32)
    strength = np.where(classes == IGNORE, 0.0, OPACITY)[..., None].astype(np.float32)
    mixed = pixels * (1 - strength) + table[classes] * strength
    return Image.fromarray(mixed.astype(np.uint8))


def errors(photo: Image.Image, predicted: ClassMap, target: ClassMap) -> Image.Image:
    """The photo in gray; right pixels greenish, wrong ones red, those of no class gray."""
    gray = np.asarray(photo.convert("L").convert("RGB"), np.float32)
    color = np.where((predicted == target)[..., None], np.array(rgb(RIGHT)), np.array(rgb(WRONG)))
    color = np.where((target == IGNORE)[..., None], np.array(rgb(IGNORED)), color)
    strength = np.where(predicted == target, 0.2, 0.75)[..., None]
    mixed = gray * (1 - strength) + color * strength
    return Image.fromarray(mixed.astype(np.uint8))


def draw_prediction(
    photo: Image.Image,
    predicted: ClassMap,
    target: ClassMap | None,
    names: Sequence[str],
) -> Image.Image:
    """The prediction over the photo, beside target and errors where there is a target, with the classes.

    Args:
        photo: as it was taken.
        predicted: (H, W) class numbers.
        target: likewise; None: it is not known.
        names: of the classes.
    """
    photo, predicted, target = _smaller(photo, predicted, target)
    parts = [("prediction", overlay(photo, predicted))]
    if target is not None:
        parts = [("target", overlay(photo, target)), *parts, ("errors", errors(photo, predicted, target))]
    longest = max(photo.size)
    wanted = SIDE if target is not None else min(LONGEST_SIDE, max(SHORTEST_SIDE, longest))
    scale = wanted / longest
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    seen = np.arange(len(names)) if target is None else np.union1d(predicted, target)
    shown = [int(number) for number in seen if number != IGNORE]
    if target is None and len(names) > MOST_NAMED:
        shown = []
    width = len(parts) * (size[0] + GAP) - GAP
    legend = _legend([(names[number], class_color(number)) for number in shown], width)
    canvas = Image.new("RGB", (width, size[1] + _LINE + legend.height), "white")
    pen = ImageDraw.Draw(canvas)
    for index, (word, image) in enumerate(parts):
        left = index * (size[0] + GAP)
        way = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.BICUBIC
        pen.text((left + 2, _LINE // 2), word, fill=INK, font=load_font(12, word), anchor="lm")
        canvas.paste(image.resize(size, way), (left, _LINE))
    canvas.paste(legend, (0, size[1] + _LINE))
    return canvas


def _smaller(
    photo: Image.Image, predicted: ClassMap, target: ClassMap | None
) -> tuple[Image.Image, ClassMap, ClassMap | None]:
    """A photo whose drawing would take much memory, and its masks, made smaller by whole steps."""
    step = max(photo.size) // (2 * LONGEST_SIDE)
    if photo.width * photo.height <= MOST_DRAWN or step < 2:
        return photo, predicted, target
    reduced = photo.reduce(step)
    rows, columns = (np.arange(side) * step for side in reduced.size[::-1])
    kept = np.ix_(rows, columns)
    return reduced, predicted[kept], None if target is None else target[kept]


def _legend(entries: Sequence[tuple[str, str]], width: int) -> Image.Image:
    """The classes with their colors, in as many lines as they need."""
    positions, left, top = [], 2, 0
    for name, color in entries:
        font = load_font(12, name)
        text = fit_text(name, font, width - _SWATCH - 12)
        needed = _SWATCH + 4 + int(font.getlength(text)) + 12
        if left > 2 and left + needed > width:
            left, top = 2, top + _LINE
        positions.append((left, top, text, color))
        left += needed
    legend = Image.new("RGB", (width, top + _LINE + 2), "white")
    pen = ImageDraw.Draw(legend)
    for x, y, text, color in positions:
        pen.rectangle((x, y + 3, x + _SWATCH, y + 3 + _SWATCH), fill=color)
        pen.text((x + _SWATCH + 4, y + _LINE // 2), text, fill=INK, font=load_font(12, text), anchor="lm")
    return legend
