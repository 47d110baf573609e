"""What a training came to, epoch by epoch: a table and its curves."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from PIL import Image

from tao_like.plots.charts import Line, Panel, draw_panels
from tao_like.plots.palette import ACCENT

TABLE_NAME, FIGURE_NAME = "metrics.csv", "curves.png"
EPOCH = "epoch"
_MOST_PANELS = 12
_PARTS = ("train_", "val_", "ema_")

History = Sequence[Mapping[str, float]]
"""A mapping an epoch: ``epoch`` (from 1), losses and metrics by name, as ``train_loss`` and ``val_mAP``."""


def write_curves(
    folder: Path, history: History, open_atomically: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    """Writes ``metrics.csv``, a line an epoch, and ``curves.png``, each either whole or as it was before.

    Args:
        folder: of the run; it exists.
        history: the epochs so far, in order; none: nothing is written.
        open_atomically: gives a path to write to that becomes the final one when the block ends well, such as
            ``tracking.files.atomic_path``, which explains a full disk.
    """
    if not history:
        return
    with open_atomically(folder / TABLE_NAME) as path:
        path.write_text(history_csv(history), encoding="utf-8", newline="")
    with open_atomically(folder / FIGURE_NAME) as path:
        draw_training_curves(history).save(path, format="PNG")


def _names(history: History) -> list[str]:
    """All names but the epoch's, in the order of their first sight."""
    return [name for name in dict.fromkeys(name for epoch in history for name in epoch) if name != EPOCH]


def history_csv(history: History) -> str:
    """A line an epoch and a column a name; a cell is empty where an epoch has no value."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    names = _names(history)
    writer.writerow([EPOCH, *names])
    for number, epoch in enumerate(history, start=1):
        cells = [f"{epoch[name]:.8g}" if name in epoch else "" for name in names]
        writer.writerow([int(epoch.get(EPOCH, number)), *cells])
    return target.getvalue()


def draw_training_curves(history: History) -> Image.Image:
    """A panel a quantity, with its values in training and in validation where there are both.

    Losses come first; then the metrics, in their order.
    """
    epochs = [epoch.get(EPOCH, number) for number, epoch in enumerate(history, start=1)]
    quantities: dict[str, list[str]] = {}
    for name in _names(history):
        part = next((part for part in _PARTS if name.startswith(part)), "")
        quantities.setdefault(name.removeprefix(part), []).append(name)
    titles = sorted(quantities, key=lambda title: not title.startswith("loss"))
    panels = []
    for title in titles[:_MOST_PANELS]:
        names = quantities[title]
        lines = []
        for name in names:
            known = [
                (epoch, row[name]) for epoch, row in zip(epochs, history, strict=True) if _is_known(row, name)
            ]
            color = ACCENT if name.startswith("train_") else "#D55E00"
            label = name if len(names) > 1 else ""
            # An epoch without validation has no value; the line goes on to the next that has one.
            lines.append(Line(label, [x for x, _ in known], [y for _, y in known], color=color, dots=True))
        panels.append(Panel(names[0] if len(names) == 1 else title, lines, x_label="epoch", whole_x=True))
    return draw_panels(panels or [Panel("no values yet", [])])


def _is_known(row: Mapping[str, float], name: str) -> bool:
    return name in row and math.isfinite(row[name])
