"""What lies in a job's folder. Supervisor, server and executors agree on it alone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUEST_FILE = "request.json"
PROCESS_FILE = "process.json"
EXIT_FILE = "exit.json"
STOP_FILE = "stop.json"
ENGINE_FILE = "engine.json"
LOG_FILE = "log.txt"
EVENTS_FILE = "events.jsonl"
LOCK_FILE = "supervisor.lock"
SPEC_FILE = "spec.yaml"
RESULTS = "results"


@dataclass(frozen=True)
class Exit:
    """How an attempt ended; ``code`` is negative for a signal."""

    attempt: int
    code: int
    began: float
    ended: float


@dataclass(frozen=True)
class JobFolder:
    """A job's folder and the files in it."""

    path: Path

    @property
    def log(self) -> Path:
        """What the process wrote on its outputs."""
        return self.path / LOG_FILE

    @property
    def events(self) -> Path:
        """What the run told, a JSON object a line."""
        return self.path / EVENTS_FILE

    @property
    def spec(self) -> Path:
        """The spec that the command line reads."""
        return self.path / SPEC_FILE

    @property
    def results(self) -> Path:
        """The run's results_dir."""
        return self.path / RESULTS

    def mark(self, attempt: int) -> str:
        """What the environment of the processes of an attempt says."""
        return f"{self.path.absolute()}/{attempt}"

    def exit(self, attempt: int) -> Exit | None:
        """How an attempt ended; None where it has not, or nobody could say."""
        content = self.read(EXIT_FILE)
        try:
            found = Exit(**content) if content else None
        except TypeError:
            return None
        return found if found is not None and found.attempt == attempt else None

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file's content; empty where there is none, or half of one."""
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file whole or not at all, and so that a power cut does not take it back."""
        temporary = self.path / f".{name}.{os.getpid()}.partial"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
