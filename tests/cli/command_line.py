"""The command line, called in this process."""

from __future__ import annotations

import pytest

from tao_like.cli.main import main


class CommandLine:
    """Calls the command line; keeps what it wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.output = ""
        self.errors = ""

    def __call__(self, *words: str) -> int:
        """The exit code of ``tao-like WORDS``."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(words)
        self.output, self.errors = self._capsys.readouterr()
        return int(end.value.code or 0)
