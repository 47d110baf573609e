"""Points with names: a metric against latency, sizes of boxes and anchors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from tao_like.plots.canvas import canvas, to_image
from tao_like.plots.charts import round_times
from tao_like.plots.palette import INK
from tao_like.plots.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_LINE = 15
"""Pixels from a name to the next below it."""
_TRIES = 30


@dataclass(frozen=True)
class Point:
    """A named point.

    Attributes:
        name: beside it.
        x: to the right.
        y: upwards.
        color: ``#RRGGBB``.
        group: what the color stands for, in the legend.
    """

    name: str
    x: float
    y: float
    color: str
    group: str


def draw_named_points(
    points: Sequence[Point], *, title: str, x_label: str, size: tuple[int, int] = (900, 560)
) -> Image.Image:
    """Points with their names, on a logarithmic axis to the right.

    Args:
        points: at least one, with x above 0.
        title: above, such as the metric that goes upwards.
        x_label: below.
        size: of the picture, in pixels.
    """
    values = [point.y for point in points]
    times = [point.x for point in points]
    margin = max(0.15 * (max(values) - min(values)), 0.01)
    low, high = min(times) / 1.3, max(times) * 1.3
    with canvas(*size, [*(point.name for point in points), title]) as figure:
        axes = figure.subplots()
        axes.set_title(shorten(title, 80))
        axes.set_xlabel(x_label)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(min(values) - margin, max(values) + margin)
        ticks = round_times(low, high) or [times[0]]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        if max(values) <= 1:
            # No metric of this kind goes beyond 1, so no tick does.
            axes.set_yticks([tick for tick in axes.get_yticks() if min(values) - margin <= tick <= 1])
        for group in dict.fromkeys(point.group for point in points):
            members = [point for point in points if point.group == group]
            xs, ys = [point.x for point in members], [point.y for point in members]
            axes.scatter(xs, ys, s=80, color=members[0].color, label=group, zorder=3)
        if len({point.group for point in points}) > 1:
            figure.legend(loc="outside lower center", ncols=6)
        _name_points(axes, points)
        return to_image(figure)


def _name_points(axes: Axes, points: Sequence[Point]) -> None:
    """A name on the side of its point where there is room, below the names that are there already."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # places depend on what is around the axes
    # Now they are known; laid out again, the axes would move away from the names.
    axes.get_figure(root=True).set_layout_engine("none")  # type: ignore[union-attr]
    frame = axes.get_window_extent()
    taken: list[Bbox] = []
    for point in sorted(points, key=lambda one: -one.y):
        name = shorten(point.name, 40)
        text = axes.annotate(
            name, (point.x, point.y), (9, 6), textcoords="offset points", color=INK, va="center", zorder=4
        )
        if text.get_window_extent().x1 > frame.x1:
            text.set_horizontalalignment("right")
            text.set_x(-9)
        taken.append(_without_overlap(text, taken))


def _without_overlap(text: Text, taken: Sequence[Bbox]) -> Bbox:
    """Moves a name down until it covers no other; where it then stands."""
    for _ in range(_TRIES):
        box = text.get_window_extent()
        if not any(box.overlaps(other) for other in taken):
            break
        text.set_y(text.get_position()[1] - _LINE * 72 / 100)
    return text.get_window_extent()
