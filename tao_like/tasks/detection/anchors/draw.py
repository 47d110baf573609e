"""Boxes of a data set and anchors as an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tao_like.plots.canvas import canvas, to_image
from tao_like.plots.palette import INK, class_color
from tao_like.tasks.detection.anchors.clusters import Shapes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (1120, 580)
_MOST_DOTS = 20000
_SMALLEST = 0.5
"""Sides below it, in pixels, are drawn at it: the logarithm of 0 cannot be drawn."""


def draw_anchors(
    shapes: Shapes, by_map: Sequence[Shapes], names: Sequence[str], size: tuple[int, int]
) -> Image.Image:
    """Left: a gray dot for each box at its width and height, a colored one for each anchor. Right: anchors.

    Args:
        shapes: (N, 2) width and height of the boxes, in pixels of the input.
        by_map: the anchors of each map, likewise.
        names: of the maps.
        size: height and width of the input.
    """
    with canvas(*_SIZE, names) as figure:
        left, right = figure.subplots(1, 2)
        _draw_shapes(left, shapes, by_map)
        _draw_frames(right, by_map, names, size)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, min(5, len(names))))
        return to_image(figure)


def _draw_shapes(axes: Axes, shapes: Shapes, by_map: Sequence[Shapes]) -> None:
    """Width to the right and height upwards, both in logarithms."""
    shown = np.maximum(shapes[:: max(1, -(-len(shapes) // _MOST_DOTS))], _SMALLEST)
    axes.plot(shown[:, 0], shown[:, 1], ".", color="#AAAAAA", markersize=3)
    for number, anchors in enumerate(by_map):
        axes.plot(
            *np.maximum(anchors, _SMALLEST).T,
            "o",
            color=class_color(number),
            markersize=9,
            markeredgecolor=INK,
        )
    everything = np.maximum(np.concatenate([shapes, *by_map]), _SMALLEST)
    low, high = float(everything.min()) / 1.25, float(everything.max()) * 1.25
    ticks = [2**power for power in range(13) if low <= 2**power <= high]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_title(f"{len(shapes):,} boxes, and the anchors")
    axes.set_xlabel("width, pixels of the input")
    axes.set_ylabel("height, pixels of the input")


def _draw_frames(axes: Axes, by_map: Sequence[Shapes], names: Sequence[str], size: tuple[int, int]) -> None:
    """The anchors as frames around the middle of the input."""
    from matplotlib.patches import Rectangle

    height, width = size
    for number, (name, anchors) in enumerate(zip(names, by_map, strict=True)):
        for index, (across, down) in enumerate(anchors.tolist()):
            label = f"{name}: {len(anchors)} anchors" if index == 0 else None
            corner = ((width - across) / 2, (height - down) / 2)
            color = class_color(number)
            axes.add_patch(Rectangle(corner, across, down, fill=False, color=color, linewidth=2, label=label))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.set_title(f"Anchors in the input of {width} x {height} pixels")
