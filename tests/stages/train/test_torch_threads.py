"""torch's threads beside other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tao_like.runtime import session
from tao_like.stages.lib import threads
from tao_like.stages.lib.threads import take_threads_again, threads_beside, threads_for_this_machine


@pytest.mark.parametrize(
    ("others", "processors", "expected"),
    [(0.0, 2, 2), (0.4, 2, 2), (0.6, 2, 1), (1.0, 2, 1), (2.0, 2, 1), (1.0, 8, 7), (3.4, 8, 5), (9.0, 8, 1)],
)
def test_a_processor_is_left_to_each_busy_one(others: float, processors: int, expected: int) -> None:
    assert threads_beside(others, processors, processors) == expected


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program keeps one of two processors busy, and torch would take both."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads.SINCE_IMPORT, "processors", lambda: 1.0)
    monkeypatch.setattr(threads, "allowed_processors", lambda: [0, 1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("busy")
def test_a_stage_takes_fewer_threads_says_so_and_gives_them_back() -> None:
    with threads_for_this_machine() as note:
        assert torch.get_num_threads() == 1
        assert note is not None
        assert "1.0 of 2 processors" in note
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("busy")
def test_the_users_number_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with threads_for_this_machine() as note:
        assert (torch.get_num_threads(), note) == (2, None)


@pytest.mark.usefixtures("busy")
def test_a_resumed_training_takes_as_many_as_before() -> None:
    with threads_for_this_machine():
        assert take_threads_again(2) == "torch computes with 2 threads, as the training did before"
        assert torch.get_num_threads() == 2
        assert take_threads_again(None) is None


@pytest.mark.usefixtures("busy")
def test_sessions_sleep_beside_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "session.intra_op.allow_spinning"
    assert session.session_options().get_session_config_entry(key) == "0"
    monkeypatch.setattr(threads.SINCE_IMPORT, "processors", lambda: 0.1)
    with pytest.raises(RuntimeError, match=key):
        session.session_options().get_session_config_entry(key)


SECOND_TEAM = """
import os, time, torch
from tao_like.stages.lib.threads import _SecondTeam
count = lambda: len(os.listdir("/proc/self/task"))
torch.ones(1_000_000).add_(1)
alone = count()
team = _SecondTeam()
end = time.monotonic() + 20
while count() < alone + 2 and time.monotonic() < end:
    time.sleep(0.01)
beside = count()
team.dissolve()
while count() > alone and time.monotonic() < end:
    time.sleep(0.01)
print(beside - alone, count() - alone)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux shows them")
def test_the_second_team_comes_and_goes() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", SECOND_TEAM], capture_output=True, text=True, check=True, env=environment
    )
    # The thread itself and the one that libgomp made for it, then neither.
    assert done.stdout.split() == ["2", "0"]
