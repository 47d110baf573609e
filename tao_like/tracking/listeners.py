"""The listeners that every run has: the console, log.txt and status.json."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from tao_like.tracking.events import Events, Level
from tao_like.tracking.files import explained_os_errors, terminal_text
from tao_like.tracking.status import RunIdentity, append_line

LOG_FILE = "log.txt"


class ConsoleMessages(Events):
    """Prints what a run says. Errors are told by whoever catches the exception."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def log(self, level: Level, text: str) -> None:
        """Print a message."""
        if level == "warning":
            self.print(f"warning: {text}", style="yellow")
        elif level == "info":
            self.print(text)

    def print(self, text: str, style: str | None = None) -> None:
        """Print text as it is, without rich's markup."""
        # A notebook cuts what is too long; terminals and files take whole lines, which can be copied.
        whole = not self.console.is_jupyter
        self.console.print(
            terminal_text(text), style=style, markup=False, highlight=False, emoji=False, soft_wrap=whole
        )


class LogFile(Events):
    """Writes what a run says into log.txt, with the time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, level: Level, text: str) -> None:
        """Add a message. Raises TaoLikeError where it cannot be written."""
        now = datetime.now().isoformat(sep=" ", timespec="seconds")
        with explained_os_errors(self.folder), (self.folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{now} {level.upper()} {terminal_text(text)}\n")


class StatusFile(Events):
    """Writes the lines of status.json."""

    def __init__(self, folder: Path, identity: RunIdentity) -> None:
        self.folder = folder
        self.identity = identity

    def status(self, status: str, message: str, fields: Mapping[str, Any]) -> None:
        """Add a line. Raises TaoLikeError where it cannot be written."""
        append_line(self.folder, self.identity, status, message, fields)
