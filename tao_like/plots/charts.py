"""The kinds of charts that the toolkit draws: lines, bars, histograms and scatter, as Pillow images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tao_like.plots.canvas import canvas, to_image
from tao_like.plots.palette import ACCENT, FAINT, INK, PALE, class_color
from tao_like.plots.text import shorten

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

MOST_NAMED = 24
"""Lines beyond these are drawn and not named: a legend of a thousand classes hides the chart."""
MOST_BARS = 200
PANEL = (420, 300)
_LONGEST_NAME = 28
_MARKED = 60
"""Lines with at most so many points have a dot at each."""


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: in the legend; empty: none.
        x: (N,).
        y: (N,); not-a-number leaves a gap.
        color: ``#RRGGBB``; None: by its number among the lines.
        dots: a dot at each point. A single point has one in any case.
        marked: x and y of a larger dot, such as the chosen threshold; None: none.
        width: in points.
    """

    name: str
    x: Sequence[float] | npt.NDArray[Any]
    y: Sequence[float] | npt.NDArray[Any]
    color: str | None = None
    dots: bool = False
    marked: tuple[float, float] | None = None
    width: float = 1.8


@dataclass(frozen=True)
class Panel:
    """A pair of axes with its lines.

    Attributes:
        title: above it.
        lines: drawn in this order.
        x_label: below it.
        y_label: beside it.
        unit_square: both axes go from 0 to 1, as precision and recall do.
        whole_x: x counts things, so ticks are whole numbers.
        note: a line of faint text below the title; empty: none.
    """

    title: str
    lines: Sequence[Line]
    x_label: str = ""
    y_label: str = ""
    unit_square: bool = False
    whole_x: bool = False
    note: str = ""


def draw_panels(
    panels: Sequence[Panel], *, columns: int = 3, size: tuple[int, int] = PANEL, legend: str = "within"
) -> Image.Image:
    """Panels with lines, side by side in rows.

    Args:
        panels: at least one.
        columns: panels a row.
        size: of a panel, in pixels.
        legend: ``within`` each panel that has several lines, or ``beside`` all of them, for the
            lines of the first.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    names = [line.name for line in panels[0].lines if line.name]
    beside = legend == "beside" and bool(names)
    width = size[0] * columns + (230 if beside else 0)
    texts = [line.name for panel in panels for line in panel.lines] + [panel.title for panel in panels]
    with canvas(width, size[1] * rows, texts) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, panel_axes in zip(panels, axes, strict=False):
            _draw_panel(panel_axes, panel)
            if not beside and sum(bool(line.name) for line in panel.lines) > 1:
                _legend(panel_axes, panel.lines, loc="best")
        for panel_axes in axes[len(panels) :]:
            panel_axes.set_visible(False)
        if beside:
            most = min(MOST_NAMED, (size[1] * rows - 40) // 19)
            _legend(figure, panels[0].lines, loc="outside right upper", most=most)
        return to_image(figure)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for number, line in enumerate(panel.lines):
        color = line.color or class_color(number)
        x, y = np.asarray(line.x, float), np.asarray(line.y, float)
        dotted = line.dots and len(x) <= _MARKED
        order = 2.5 if line.width > 2 else 2.0
        axes.plot(
            *(x, y),
            color=color,
            linewidth=line.width,
            marker="o" if dotted else None,
            markersize=4,
            zorder=order,
        )
        # A point between two gaps is on no line.
        there = np.isfinite(np.concatenate([[np.nan], y, [np.nan]]))
        alone = there[1:-1] & ~there[:-2] & ~there[2:]
        axes.plot(x[alone], y[alone], "o", color=color, markersize=5)
    for number, line in enumerate(panel.lines):
        if line.marked is not None:
            color = line.color or class_color(number)
            axes.plot(
                *line.marked, "o", color=color, markersize=7, markeredgecolor=INK, zorder=3, clip_on=False
            )
    axes.set_title(shorten(panel.title, 60))
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    if panel.note:
        axes.set_title(panel.note, loc="right", fontsize=8.5, color=FAINT)
    if panel.unit_square:
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_yticks(np.linspace(0, 1, 6))
        return
    from matplotlib.ticker import MaxNLocator

    # A number of ticks that is given: to see how many fit, matplotlib measures texts again and again.
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    if panel.whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _legend(position: Any, lines: Sequence[Line], loc: str, most: int = MOST_NAMED) -> None:
    """Names with their lines; set one by one, since matplotlib leaves out names that begin with ``_``."""
    from matplotlib.lines import Line2D

    named = [(number, line) for number, line in enumerate(lines) if line.name]
    shown = named[:most]
    handles = [
        Line2D([], [], color=line.color or class_color(number), linewidth=max(line.width, 1.8))
        for number, line in shown
    ]
    title = f"the first {most} of {len(named)}" if len(named) > most else None
    legend = position.legend(handles, [f"{n}" for n in range(len(shown))], loc=loc, fontsize=8.5, title=title)
    for text, (_, line) in zip(legend.get_texts(), shown, strict=True):
        text.set_text(shorten(line.name, _LONGEST_NAME))


def draw_bars(
    names: Sequence[str],
    values: Sequence[float],
    title: str,
    *,
    most: Sequence[float] | float | None = None,
    labels: Sequence[str] | None = None,
) -> Image.Image:
    """Bars to the right, the first one on top, with their names and values.

    Args:
        names: of the bars.
        values: their lengths, at least 0.
        title: above them.
        most: what each could have been, as a paler bar behind it: of each bar, or of all.
        labels: behind the bars; None: the values.
    """
    left_out = max(0, len(names) - MOST_BARS)
    names, values = list(names)[:MOST_BARS], list(values)[:MOST_BARS]
    behind = [most] * len(names) if isinstance(most, int | float) else list(most or [])[:MOST_BARS]
    written = list(labels)[:MOST_BARS] if labels is not None else [f"{value:.3g}" for value in values]
    title += f"; {left_out} more are not shown" if left_out else ""
    count = len(names)
    with canvas(900, 80 + 20 * max(count, 1), [*names, title]) as figure:
        axes = figure.subplots()
        axes.set_title(shorten(title, 110))
        axes.grid(visible=False, axis="y")
        positions = range(count)
        if behind:
            axes.barh(positions, behind, height=0.72, color=PALE)
        axes.barh(positions, values, height=0.72, color=ACCENT)
        longest = max([*behind, *values, 1e-12])
        for index, (value, label) in enumerate(zip(values, written, strict=True)):
            end = behind[index] if behind else value
            axes.text(end + 0.008 * longest, index, shorten(label, 40), va="center", fontsize=8.5)
        axes.set_yticks(list(positions), [shorten(name, 48) for name in names], fontsize=8.5)
        axes.set_ylim(max(count, 1) - 0.4, -0.6)
        axes.set_xlim(0, longest * 1.12)
        axes.tick_params(axis="y", length=0)
        return to_image(figure)


GROUP_COLORS = (ACCENT, "#E69F00", "#009E73", "#CC79A7")
"""Of splits and of other groups that are no classes."""


@dataclass(frozen=True)
class Histogram:
    """Values whose frequencies are shown.

    Attributes:
        title: above it.
        values: group to its values, (N,).
        x_label: below it.
        log: steps of equal ratios, for values that reach over several powers of ten.
    """

    title: str
    values: Mapping[str, Sequence[float] | npt.NDArray[Any]]
    x_label: str
    log: bool = False


def draw_histograms(histograms: Sequence[Histogram]) -> Image.Image:
    """Histograms side by side, each group as a fraction of its own values.

    Args:
        histograms: at least one; groups without values are left out.
    """
    groups = list(dict.fromkeys(name for histogram in histograms for name in histogram.values))
    with canvas(PANEL[0] * len(histograms), PANEL[1] + 20, groups) as figure:
        axes = figure.subplots(1, len(histograms), squeeze=False).ravel()
        for panel_axes, histogram in zip(axes, histograms, strict=True):
            panel_axes.set_title(histogram.title)
            panel_axes.set_xlabel(histogram.x_label)
            panel_axes.set_ylabel("share, %")
            _draw_histogram(panel_axes, histogram, groups)
        handles, labels = axes[0].get_legend_handles_labels()
        if len(handles) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
        return to_image(figure)


def _draw_histogram(axes: Axes, histogram: Histogram, groups: Sequence[str]) -> None:
    filled = {name: np.asarray(values, float) for name, values in histogram.values.items() if len(values)}
    if not filled:
        return
    everything = np.concatenate(list(filled.values()))
    low, high = float(everything.min()), float(everything.max())
    # Few values in many steps are noise.
    bins = int(np.clip(2 * np.sqrt(min(len(values) for values in filled.values())), 10, 40))
    if histogram.log:
        low = max(low, 1e-3)
        high = max(high, low * 1.01)
        edges = np.geomspace(low, high, bins + 1)
        axes.set_xscale("log")
        ticks = round_times(low, high)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    else:
        edges = np.linspace(low, max(high, low + 1e-9), bins + 1)
    for name, values in filled.items():
        color = GROUP_COLORS[groups.index(name) % len(GROUP_COLORS)]
        weights = np.full(len(values), 100 / len(values))
        shown = np.clip(values, edges[0], edges[-1])
        if name == groups[0]:
            axes.hist(shown, bins=edges.tolist(), weights=weights, color=color, alpha=0.25)
        axes.hist(
            shown,
            bins=edges.tolist(),
            weights=weights,
            color=color,
            histtype="step",
            linewidth=1.6,
            label=name,
        )


def round_times(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 ... between two positive values, as ticks of a logarithmic axis."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    # The coarsest steps that give three ticks, or the finest.
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        every = [step * 10.0**exponent for exponent in exponents for step in steps]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks
