"""The comparison as a table on the terminal and as CSV. Imports no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tao_like.runtime.processor import ANY_PROCESSOR
from tao_like.tracking.files import csv_cell, terminal_text

Row = Mapping[str, Any]
"""One model, as it stands under ``rows`` in report.json of compare.

``name``, ``path``, ``form``, ``processors`` (for which int8 layers are right; None: all, or not known),
``runs_in``; ``metrics`` (name to value); ``drop`` (loss of the primary metric
against the first row, in the metric's own direction); ``bytes``; ``parameters`` and ``macs`` (None: not
known); ``median_ms``, ``p95_ms`` at batch 1, ``throughput`` (samples a second) and ``throughput_batch``
(None where nothing was timed); ``likeness`` to the first model by what the task measures (perhaps empty).
"""
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def comparison_table(rows: Sequence[Row], primary_metric: str) -> Table:
    """The rows as a table for a terminal of 100 columns.

    Args:
        rows: of one comparison, the reference first.
        primary_metric: the metric to show; the others are in the CSV.
    """
    heading = _name(f"Compared with {rows[0]['name']}")
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("form")
    for title in (primary_metric, "lost", "MB", "params", "MACs", "ms", "p95", "x", f"/s at {_batch(rows)}"):
        table.add_column(title, justify="right", no_wrap=True)
    first = rows[0]["median_ms"]
    for row in rows:
        speed = f"{first / row['median_ms']:.2f}" if first and row["median_ms"] else "-"
        table.add_row(
            _name(row["name"]),
            row["form"] if row["runs_in"] == "onnxruntime" else f"{row['form']}, in {row['runs_in']}",
            f"{row['metrics'][primary_metric]:.4f}",
            f"{row['drop']:+.4f}",
            f"{row['bytes'] / 1e6:.1f}",
            short_number(row["parameters"]),
            short_number(row["macs"]),
            _decimals(row["median_ms"], 2),
            _decimals(row["p95_ms"], 2),
            speed,
            _decimals(row["throughput"], 1),
        )
    return table


def processor_lines(rows: Sequence[Row], *, overflows: bool) -> list[str]:
    """For each int8 model a sentence: on which processors what the table says of it holds.

    Args:
        rows: of one comparison.
        overflows: this machine adds products of 8 bits in 16 bits, where they overflow.
    """
    lines = []
    for row in rows:
        if row["form"] != "ONNX int8":
            continue
        processors = row.get("processors")
        if processors is None:
            lines.append(
                f"{row['name']}: its file does not say for which processors its int8 layers are right."
            )
        elif processors == ANY_PROCESSOR:
            lines.append(
                f"{row['name']}: metrics hold on any processor (weights of 7 bits), latency on this one."
            )
        else:
            lines.append(
                f"{row['name']}: metrics hold on {processors} (weights of 8 bits), latency on this processor"
                + (", in a slower form that does not overflow" if overflows else "")
                + "; other processors and programs predict otherwise."
            )
    return lines


def table_text(table: Table, width: int = 110) -> str:
    """A table as plain text."""
    target = io.StringIO()
    Console(file=target, width=width, color_system=None, legacy_windows=False).print(table)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes a line a model; each metric is a column, and each likeness to the first model.

    Names are text: no program runs what they hold.
    """
    flat = [
        {
            **{name: value for name, value in row.items() if name not in ("metrics", "likeness")},
            **row["metrics"],
            **row.get("likeness", {}),
        }
        for row in rows
    ]
    names = list(dict.fromkeys(name for row in flat for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writerow({name: csv_cell(name) for name in names})
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in flat)


def short_number(value: int | None) -> str:
    """A large number in three digits with its unit, such as ``3.39M``; a dash for None."""
    if value is None:
        return "-"
    for size, unit in _UNITS:
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return str(value)


def _name(name: str) -> Text:
    """A name as it is: brackets are no markup, and control characters steer no terminal."""
    return Text(terminal_text(name).replace("\n", "?"))


def _batch(rows: Sequence[Row]) -> str:
    return str(rows[0]["throughput_batch"] or "-")


def _decimals(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
