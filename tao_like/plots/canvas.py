"""Where charts are drawn: matplotlib's objects without pyplot and display, with settings of our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image

from tao_like.plots.palette import FAINT, GRID, INK
from tao_like.plots.text import families, quiet_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100
"""Sizes are given in pixels, and matplotlib wants inches."""
_STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "text.color": INK,
    # A class may be called "5$ or 6$".
    "text.parse_math": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    # Fixed above the axes: no ticks stand there, and looking for them takes a seventh of the time.
    "axes.titley": 1.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.dpi": DPI,
}


@contextmanager
def canvas(width: int, height: int, texts: Iterable[str] = ()) -> Iterator[Figure]:
    """A figure of so many pixels to draw on and to give to `to_image`, both inside the block.

    Whatever style the user has set for matplotlib, in a file or in a notebook, has no effect inside and is
    back afterwards. Settings of matplotlib are the process's, so a thread waits here while another draws.

    Args:
        width: in pixels.
        height: in pixels.
        texts: names that the chart shows; fonts that have their letters are looked for.
    """
    with quiet_matplotlib():
        import matplotlib
        from matplotlib.figure import Figure

        plain: Any = {
            name: value
            for name, value in matplotlib.rcParamsDefault.items()
            if not name.startswith("backend")
        }
        with matplotlib.rc_context(plain | _STYLE | {"font.family": families("".join(texts))}):
            yield Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained")


def to_image(figure: Figure) -> Image.Image:
    """The finished figure as a Pillow image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    painter = FigureCanvasAgg(figure)
    painter.draw()
    return Image.frombytes("RGBA", painter.get_width_height(), painter.buffer_rgba().tobytes()).convert("RGB")
