"""How busy other programs are: counters as Linux writes them, and a real busy process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tao_like.runtime import other_programs
from tao_like.runtime.other_programs import OtherPrograms, read_processors

# user nice system idle iowait irq softirq steal guest guest_nice, in hundredths of a second
STAT = """cpu  {total} 0 0 5000 0 0 0 0 0 0
cpu0 {first} 10 20 9000 70 5 6 9 400 0
cpu1 {second} 0 0 9000 0 0 0 0 0 0
cpu2 77777 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A counter file of three processors, of which this process may use two."""
    monkeypatch.setattr(other_programs, "allowed_processors", lambda: [0, 1])
    monkeypatch.setattr(other_programs.os, "sysconf", lambda _: 100)
    file = tmp_path / "stat"
    file.write_text(STAT.format(total=0, first=100, second=200))
    return file


def test_busy_seconds_are_those_of_allowed_processors(stat: Path) -> None:
    reading = read_processors(stat)
    assert reading is not None
    # 100 + 10 + 20 + 5 + 6 + 9 of the first, 200 of the second: waiting is not work, guests are users' time.
    assert reading.busy == pytest.approx(3.5)


def test_own_time_is_taken_off(stat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, own = [10.0], [1.0]
    monkeypatch.setattr(other_programs.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(other_programs.time, "process_time", lambda: own[0])
    watch = OtherPrograms(stat)
    clock[0], own[0] = 12.0, 2.5
    stat.write_text(STAT.format(total=0, first=300, second=300))
    # 3 seconds of work in 2 seconds, 1.5 of them this process's.
    assert watch.processors() == pytest.approx(0.75)
    clock[0] = 12.1
    assert watch.processors() == pytest.approx(0.75), "too soon for another look"


def test_a_system_without_counters_has_no_busy_programs(tmp_path: Path) -> None:
    assert OtherPrograms(tmp_path / "none").processors() == 0


@pytest.mark.skipif(not other_programs.STAT.is_file(), reason="needs Linux's counters")
def test_a_busy_process_is_seen() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        used = Path(f"/proc/{busy.pid}/stat").read_text().rpartition(")")[2].split()
        watch = OtherPrograms()
        time.sleep(1.0)
        others = watch.processors()
        after = Path(f"/proc/{busy.pid}/stat").read_text().rpartition(")")[2].split()
    finally:
        busy.kill()
        busy.wait()
    # On a busy machine it does not get a processor of its own; what it got must be seen.
    got = sum(int(after[at]) - int(used[at]) for at in (11, 12)) / 100
    assert got > 0
    assert others >= 0.8 * got / 1.5
