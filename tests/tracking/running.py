"""Runs for the tests, and what they wrote into status.json."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

from rich.console import Console

from tao_like.tracking import Run


def make_run(folder: Path, **options: Any) -> Run:
    options.setdefault("console", Console(file=io.StringIO()))
    return Run(folder, task="classification", stage="train", spec_yaml="train:\n  seed: 1\n", **options)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "status.json").read_text().splitlines()]


def statuses(folder: Path) -> list[str]:
    return [line["status"] for line in lines(folder)]


def heartbeat_threads() -> int:
    return sum(thread.name == "heartbeat" for thread in threading.enumerate())
