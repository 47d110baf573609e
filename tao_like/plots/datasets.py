"""What a data set holds: labels of each split, and sizes of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tao_like.plots.charts import Histogram, draw_grouped_bars, draw_histograms


def draw_label_histogram(counts: Mapping[str, Mapping[str, int]], things: str = "samples") -> Image.Image:
    """How many samples or boxes each class has in each split.

    Args:
        counts: split to class to count, the classes in the model's order.
        things: what is counted.
    """
    return draw_grouped_bars(counts, f"{things.capitalize()} of each class")


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
