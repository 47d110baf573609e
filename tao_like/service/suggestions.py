"""What a task's ``init`` suggests for a folder of data, worked out by a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_like import tasks
from tao_like.config.loading import given_values

_MOST_SECONDS = 600


@dataclass(frozen=True)
class Suggestion:
    """A spec for some data, or why there is none."""

    ready: bool
    message: str
    spec: dict[str, Any] = field(default_factory=dict)


def suggest(task: str, data: Path) -> Suggestion:
    """Look at data as ``tao-like <task> init`` does.

    A file that brings the process down, or keeps it busy for ever, does no harm to the server.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "spec.yaml"
        command = [sys.executable, "-m", "tao_like.cli", task, "init", str(data), "-o", str(target)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_MOST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return Suggestion(False, f"looking at the data took more than {_MOST_SECONDS} s")
        if done.returncode != 0 or not target.is_file():
            return Suggestion(False, done.stderr.strip().removeprefix("error: ") or "it cannot be read")
        spec = given_values(tasks.spec_module(task).Spec, target.read_text(encoding="utf-8"), str(target))
        spec.pop("results_dir", None)
        lines = [
            line for line in done.stdout.splitlines() if not line.startswith(("Wrote ", "Next: ", "Then: "))
        ]
        return Suggestion(True, "\n".join(lines), spec)
