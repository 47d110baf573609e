"""What a job's run has told so far, read from the files in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tao_like.jobs.folder import JobFolder

_TAIL_BYTES = 1 << 16
_KEPT = ("epoch", "max_epoch", "step", "max_step", "eta", "kpi", "message")
_LONGEST_ERROR = 2000


def progress(folder: JobFolder, before: dict[str, Any]) -> dict[str, Any]:
    """How far the run is: what was known before, and what the last events say."""
    found = dict(before)
    for line in _last_events(folder.events):
        if line.get("event") == "status":
            found.update({name: line[name] for name in _KEPT if name in line})
            found["stage_status"] = line.get("status")
        elif line.get("event") == "progress":
            found["part"] = {name: line.get(name) for name in ("description", "done", "total", "values")}
    return found


def failure(folder: JobFolder, since: float) -> str:
    """Why the run failed, in its own words; empty where it said nothing after ``since``."""
    for line in reversed(_last_events(folder.events)):
        if line.get("time", 0) < since:
            break
        if line.get("event") == "status" and line.get("status") == "FAILURE":
            return str(line.get("message", ""))[:_LONGEST_ERROR]
    text = _tail(folder.log).decode("utf-8", errors="replace")
    _, found, last = text.rpartition("error: ")
    return last.strip()[:_LONGEST_ERROR] if found else ""


def succeeded(folder: JobFolder, since: float) -> bool:
    """Whether the run's last word was that it is done."""
    statuses = [line for line in _last_events(folder.events) if line.get("event") == "status"]
    last = statuses[-1] if statuses else {}
    return last.get("status") == "SUCCESS" and last.get("time", 0) >= since


def _last_events(path: Path) -> list[dict[str, Any]]:
    lines = []
    for text in _tail(path).split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue  # half a line: the tail begins in it, or a process was killed in it
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read()
    except OSError:
        return b""
