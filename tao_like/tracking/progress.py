"""Progress with a time to go: a bar on a terminal, a plain line now and then everywhere else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from tao_like.tracking.events import Events
from tao_like.tracking.status import duration_text

_QUIET_SECONDS = 2.0
_LINE_SECONDS = 10.0
_TELL_SECONDS = 0.2


class ProgressDisplay:
    """The bars of one console. Rich draws one live display at a time, so bars within bars share it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._rich: RichProgress | None = None
        self._bars = 0

    def add(self, description: str, total: int) -> tuple[RichProgress, TaskID]:
        """Show one more bar."""
        if self._rich is None:
            self._rich = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[shown]}", markup=False),
                console=self.console,
                refresh_per_second=4,
                transient=True,
            )
            self._rich.start()
        self._bars += 1
        return self._rich, self._rich.add_task(description, total=total, shown="")

    def remove(self, task: TaskID) -> None:
        """Take a bar away; the last one ends the display."""
        if self._rich is None:
            return
        self._rich.remove_task(task)
        self._bars -= 1
        if self._bars:
            self._rich.refresh()
        else:
            self._rich.stop()
            self._rich = None


class Progress:
    """How far a piece of work is. Work of less than two seconds shows nothing.

    Args:
        display: the bars of the console; None shows nothing at all.
        description: what is being done, such as ``epoch 3``.
        total: number of steps.
        listeners: who is told besides.
    """

    def __init__(
        self,
        display: ProgressDisplay | None,
        description: str,
        total: int,
        listeners: Sequence[Events] = (),
    ) -> None:
        self._listeners = listeners
        self._told: tuple[int, float] = (-1, 0.0)
        self._values: dict[str, Any] = {}
        self._display = display
        self._description = description
        self._total = total
        self._done = 0
        self._fields = ""
        self._bar: tuple[RichProgress, TaskID] | None = None
        self._lines = 0

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        self._last_line = self._began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._tell()
        if self._display is None:
            return
        if self._bar is not None:
            self._display.remove(self._bar[1])
        if error is None and (self._bar is not None or self._lines):
            took = duration_text(time.monotonic() - self._began)
            self._print(f"{self._description}: {self._done} of {self._total} in {took}", self._fields)

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Count ``n`` steps more; ``fields`` are shown beside the bar, as in ``loss=0.12``."""
        self._done += n
        if self._display is None:
            return
        if fields:
            self._values = fields
            self._fields = " ".join(f"{name}={_short(value)}" for name, value in fields.items())
        now = time.monotonic()
        if now - self._told[1] >= _TELL_SECONDS:
            self._tell()
        elapsed = now - self._began
        if elapsed < _QUIET_SECONDS:
            return
        to_go = self._time_to_go(elapsed)
        if self._display.console.is_interactive:
            first = self._bar is None
            rich, task = self._bar = self._bar or self._display.add(self._description, self._total)
            rich.update(task, completed=self._done, shown=_joined(to_go, self._fields), refresh=first)
        elif now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            self._lines += 1
            fraction = f" ({self._done / self._total:.0%})" if self._total else ""
            self._print(f"{self._description}: {self._done} of {self._total}{fraction}", to_go, self._fields)

    def _tell(self) -> None:
        if self._told[0] == self._done:
            return
        self._told = self._done, time.monotonic()
        for listener in self._listeners:
            listener.progress(self._description, self._done, self._total, self._values)

    def _time_to_go(self, elapsed: float) -> str:
        """Return the time to go at the mean rate since the start; nothing when it cannot be told."""
        if not 0 < self._done < self._total:
            return ""
        return f"{duration_text(elapsed * (self._total - self._done) / self._done)} to go"

    def _print(self, *parts: str) -> None:
        assert self._display is not None
        text = _joined(*parts)
        self._display.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
