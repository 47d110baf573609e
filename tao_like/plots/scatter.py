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
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_DOT = 6
"""Half the width of a point, in pixels."""
_LINE = 15
"""Pixels from a name to the next below it."""
_TRIES = 20


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


def draw_named_points(points: Sequence[Point], *, title: str, x_label: str) -> Image.Image:
    """Points with their names, on a logarithmic axis to the right.

    Args:
        points: at least one, with x above 0.
        title: above, such as the metric that goes upwards.
        x_label: below.
    """
    values = [point.y for point in points]
    times = [point.x for point in points]
    margin = max(0.15 * (max(values) - min(values)), 0.01)
    low, high = min(times) / 1.3, max(times) * 1.3
    with canvas(900, 560, [*(point.name for point in points), title]) as figure:
        axes = figure.subplots()
        axes.set_title(shorten(title, 80))
        axes.set_xlabel(x_label)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        # No metric of this kind goes beyond 1, so hardly the axis does.
        top = max(values) + margin if max(values) > 1 else min(max(values) + margin, 1 + margin / 2)
        axes.set_ylim(min(values) - margin, top)
        ticks = round_times(low, high) or [times[0]]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        if max(values) <= 1:
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
    """A name beside each point, where it covers neither a point nor another name."""
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    assert figure is not None
    # Positions depend on what is around the axes. Laid out again, the axes would move away from the names.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    frame = axes.get_window_extent()
    taken = []
    for x, y in axes.transData.transform([(point.x, point.y) for point in points]):
        taken.append(Bbox.from_extents(x - _DOT, y - _DOT, x + _DOT, y + _DOT))
    for point in sorted(points, key=lambda one: -one.y):
        text = axes.annotate(
            shorten(point.name, 40),
            (point.x, point.y),
            textcoords="offset pixels",
            xytext=(0, 0),
            color=INK,
            # Below the points, above the grid, which would strike the name out.
            zorder=2.9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
        )
        taken.append(_placed(text, frame, taken))


def _placed(text: Annotation, frame: Bbox, taken: Sequence[Bbox]) -> Bbox:
    """Tries the sides of the point, then further and further below; where the name then stands."""
    beside, beyond = _DOT + 4, _DOT + 12
    tries = [(beside, 0, "left"), (-beside, 0, "right"), (0, beyond, "center"), (0, -beyond, "center")]
    tries += [
        (side * beside, -_LINE * step, align)
        for step in range(1, _TRIES)
        for side, align in ((1, "left"), (-1, "right"))
    ]
    for across, up, align in tries:
        text.set(position=(across, up), horizontalalignment=align, verticalalignment="center")
        box = text.get_window_extent()
        if box.x0 >= frame.x0 and box.x1 <= frame.x1 and not any(box.overlaps(other) for other in taken):
            break
    return text.get_window_extent()
