"""What the OpenAPI document allows, and what it does not, tried at random: nothing is answered with a 5xx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from serving import served

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("seed", [1, 2])
def test_no_answer_says_that_the_server_has_a_fault(seed: int, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    with served(tmp_path / "server", manages=False) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/api/v2/openapi.json"]
        command += ["--checks", "not_a_server_error", "--max-examples", "25", "--seed", str(seed)]
        # A stream of events does not end before its job does.
        command += ["--exclude-operation-id", "stream_job_events", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "generated" in done.stdout
