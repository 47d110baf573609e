"""A file of what a run tells, a JSON object a line, for a program that starts runs as processes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_like.tracking.events import Events, Level
from tao_like.tracking.files import explained_os_errors, to_plain

EVENTS_FILE_VARIABLE = "TAO_LIKE_EVENTS_FILE"
"""The environment variable that names the file; whoever starts a run sets it."""


class EventFile(Events):
    """Adds a line for each event to a file. Lines are whole, also where several runs write to it.

    Args:
        path: the file; it is made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, level: Level, text: str) -> None:
        """Add a message."""
        self._add("log", {"level": level, "text": text})

    def progress(self, description: str, done: int, total: int, values: Mapping[str, Any]) -> None:
        """Add how far a piece of work is."""
        self._add("progress", {"description": description, "done": done, "total": total, "values": values})

    def metric(
        self, values: Mapping[str, float], *, step: int | None = None, epoch: int | None = None
    ) -> None:
        """Add the values of a step, an epoch or the run."""
        self._add("metric", {"values": values, "step": step, "epoch": epoch})

    def figure(self, name: str, path: Path) -> None:
        """Add the name of an image."""
        self._add("figure", {"name": name, "path": path})

    def status(self, status: str, message: str, fields: Mapping[str, Any]) -> None:
        """Add what a line of status.json says."""
        self._add("status", {"status": status, "message": message, **fields})

    def _add(self, kind: str, fields: Mapping[str, Any]) -> None:
        line = {"event": kind, "time": round(time.time(), 3), **to_plain(dict(fields))}
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", errors="replace") + b"\n"
        with explained_os_errors(self.path.parent):
            # One write to a file that is open for appending: lines do not mix.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)


def event_file() -> EventFile | None:
    """The file that the environment asks for; None where it asks for none."""
    path = os.environ.get(EVENTS_FILE_VARIABLE)
    return EventFile(Path(path)) if path else None
