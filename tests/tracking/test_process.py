from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tao_like.tracking.process import Process, is_main_process, this_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    # A program's name stands unescaped in /proc/<pid>/stat; this one tries to look like more fields.
    program = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    child = subprocess.Popen([str(program), "60"])
    yield child
    child.kill()
    child.wait()


def seen(child: subprocess.Popen[bytes]) -> Process:
    ticks = int(Path(f"/proc/{child.pid}/stat").read_text().rsplit(") ", 1)[1].split()[19])
    return dataclasses.replace(this_process(), pid=child.pid, start=ticks)


def test_this_process_lives_and_its_start_is_right() -> None:
    process = this_process()
    assert process.is_alive() is True
    assert process.pid == os.getpid()
    # An independent clock: the system's uptime less the start is the age of this process.
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert process.start is not None
    age = uptime - process.start / os.sysconf("SC_CLK_TCK")
    assert 0 <= age < 24 * 3600
    assert time.clock_gettime(time.CLOCK_BOOTTIME) - uptime < 5


def test_a_child_lives_until_it_is_killed_even_before_it_is_waited_for(
    sleeper: subprocess.Popen[bytes],
) -> None:
    process = seen(sleeper)
    assert process.is_alive() is True
    sleeper.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
    assert process.is_alive() is False
    sleeper.wait()
    assert process.is_alive() is False


def test_a_number_that_is_used_again_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    earlier = dataclasses.replace(seen(sleeper), start=seen(sleeper).start - 1)
    assert earlier.is_alive() is False


@pytest.mark.parametrize("elsewhere", [{"host": "other-machine"}, {"namespace": 1}])
def test_another_machine_or_container_cannot_be_seen(elsewhere: dict[str, object]) -> None:
    assert dataclasses.replace(this_process(), **elsewhere).is_alive() is None


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "3", "LOCAL_RANK": "0"}, False),  # first process of the second machine
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
    ],
)
def test_the_main_process(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], main: bool) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is main
