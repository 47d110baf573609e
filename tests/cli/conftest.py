"""The command line as a fixture."""

from __future__ import annotations

import pytest
from command_line import CommandLine


@pytest.fixture
def tao_like(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """``tao_like("tasks")`` is the exit code of ``tao-like tasks``."""
    return CommandLine(capsys)
