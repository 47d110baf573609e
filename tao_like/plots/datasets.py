"""What a data set holds: labels of each split, and sizes of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.plots.canvas import canvas, to_image
from tao_like.plots.charts import GROUP_COLORS, Histogram, draw_histograms
from tao_like.plots.text import shorten

_MOST_CLASSES = 40
"""Classes that are shown; the others are counted in the title."""


def draw_label_histogram(counts: Mapping[str, Mapping[str, int]], things: str = "samples") -> Image.Image:
    """How many samples or boxes each class has in each split, side by side.

    Args:
        counts: split to class to count, the classes in the model's order.
        things: what is counted.
    """
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name for of_split in counts.values() for name in of_split))
    left_out, shown = max(0, len(names) - _MOST_CLASSES), names[:_MOST_CLASSES]
    title = f"{things.capitalize()} of each class"
    title += f"; {left_out} more classes are not shown" if left_out else ""
    height, rows = 0.8 / max(len(counts), 1), max(len(shown), 1)
    with canvas(900, 90 + rows * (10 + 14 * len(counts)), [*names, *counts, title]) as figure:
        axes = figure.subplots()
        axes.set_title(shorten(title, 110))
        axes.grid(visible=False, axis="y")
        longest = max([1, *(of_split.get(name, 0) for of_split in counts.values() for name in shown)])
        for number, (split, of_split) in enumerate(counts.items()):
            places = np.arange(len(shown)) - 0.4 + height * (number + 0.5)
            values = [of_split.get(name, 0) for name in shown]
            color = GROUP_COLORS[number % len(GROUP_COLORS)]
            axes.barh(places, values, height=height * 0.9, color=color, label=split)
            for place, value in zip(places, values, strict=True):
                axes.text(value + 0.006 * longest, place, f"{value:,}", va="center", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_yticks(range(len(shown)), [shorten(name, 40) for name in shown])
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_xlim(0, longest * 1.1)
        axes.tick_params(axis="y", length=0)
        if len(counts) > 1:
            figure.legend(loc="outside lower center", ncols=len(counts))
        return to_image(figure)


def draw_box_sizes(boxes: Mapping[str, npt.ArrayLike], images: Mapping[str, npt.ArrayLike]) -> Image.Image:
    """Side, fraction of the image and shape of the boxes of each split.

    Args:
        boxes: split to (N, 4) left, top, right, bottom in pixels of the image.
        images: split to (N, 2) width and height of the image that each box lies on; 0: not known.
    """
    sides: dict[str, Sequence[float] | npt.NDArray[Any]] = {}
    fractions: dict[str, Sequence[float] | npt.NDArray[Any]] = {}
    shapes: dict[str, Sequence[float] | npt.NDArray[Any]] = {}
    for split, listed in boxes.items():
        corners = np.asarray(listed, float).reshape(-1, 4)
        whole = np.asarray(images[split], float).reshape(-1, 2).prod(axis=1)
        width, height = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
        usable = (width > 0) & (height > 0)
        width, height, whole = width[usable], height[usable], whole[usable]
        sides[split] = np.sqrt(width * height)
        fractions[split] = 100 * (width * height)[whole > 0] / whole[whole > 0]
        shapes[split] = width / height
    return draw_histograms(
        [
            Histogram("Size of the boxes", sides, "square root of the area, pixels", log=True),
            Histogram("Part of the image", fractions, "area of the box over the image's, %", log=True),
            Histogram("Shape of the boxes", shapes, "width over height", log=True),
        ]
    )
