"""kill -9 of the server, a job, its supervisor, and all at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import pids, until, wait_for

from tao_like.jobs.executors import LocalExecutor
from tao_like.jobs.folder import PROCESS_FILE, JobFolder
from tao_like.jobs.job import Job, NewJob, OnLost
from tao_like.jobs.manager import Manager
from tao_like.jobs.process import marked
from tao_like.jobs.states import JobStatus
from tao_like.jobs.storage.store import Store

SERVER = """\
import sys, time
from pathlib import Path
from tao_like.jobs.executors import LocalExecutor
from tao_like.jobs.manager import Manager
from tao_like.jobs.storage.store import Store
folder = Path(sys.argv[1])
Manager(Store(folder / "jobs.db"), folder / "jobs", LocalExecutor()).start()
time.sleep(600)
"""
SUCCESS = (
    "print(json.dumps({'event': 'status', 'time': time.time(), 'status': 'SUCCESS', 'message': 'finished'}), "
    "file=open(os.environ['TAO_LIKE_EVENTS_FILE'], 'a'))"
)


class Scene:
    """A server in a process of its own, with a job at work."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.gate, self.begun = folder, folder / "gate", folder / "begun"
        self.store = Store(folder / "jobs.db")
        self.server = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)])
        self.manager: Manager | None = None
        self.id = ""

    def work(self, *, last: str = "", on_lost: OnLost = "fail") -> None:
        command = until(self.gate, self.begun, last=last)
        self.id = self.store.add(NewJob("fake", "train", command=command, on_lost=on_lost))[0].id
        wait_for(lambda: self.job.status is JobStatus.RUNNING and pids(self.begun))

    @property
    def job(self) -> Job:
        job = self.store.get(self.id)
        assert job is not None
        return job

    @property
    def supervisor(self) -> int:
        record = json.loads((self.folder / "jobs" / self.id / PROCESS_FILE).read_text())
        return int(record["supervisor"]["pid"])

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()

    def return_of_server(self) -> None:
        self.manager = Manager(self.store, self.folder / "jobs", LocalExecutor())
        self.manager.start()

    def words(self) -> list[str]:
        return [change.status for change in self.store.history(self.id)]

    def ends(self, status: JobStatus) -> None:
        wait_for(lambda: self.job.status is status)
        # Once, and nobody is left.
        assert self.words().count(status.value) == 1
        assert list(marked(JobFolder(self.folder / "jobs" / self.id).mark(self.job.attempt))) == []

    def close(self) -> None:
        self.gate.touch()
        self.kill_server()
        if self.manager is not None:
            self.manager.stop()
        for pid in marked(JobFolder(self.folder / "jobs" / self.id).mark(1)):
            os.kill(pid, signal.SIGKILL)
        self.store.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def test_a_job_does_not_notice_the_death_of_the_server(scene: Scene) -> None:
    scene.work()
    scene.kill_server()
    scene.return_of_server()
    scene.gate.touch()
    scene.ends(JobStatus.DONE)
    assert len(pids(scene.begun)) == 1
    assert scene.words() == ["Pending", "Started", "Running", "Done"]


def test_a_job_that_ends_while_there_is_no_server(scene: Scene) -> None:
    scene.work()
    scene.kill_server()
    scene.gate.touch()
    wait_for(lambda: (scene.folder / "jobs" / scene.id / "exit.json").is_file())
    assert scene.job.status is JobStatus.RUNNING
    scene.return_of_server()
    scene.ends(JobStatus.DONE)
    assert len(pids(scene.begun)) == 1


def test_the_death_of_a_job_is_an_error(scene: Scene) -> None:
    scene.work()
    os.kill(pids(scene.begun)[0], signal.SIGKILL)
    scene.ends(JobStatus.ERROR)
    assert (scene.job.exit_code, scene.job.error) == (-9, "ended by signal 9")


@pytest.mark.parametrize(("last", "end"), [("", JobStatus.ERROR), (SUCCESS, JobStatus.DONE)])
def test_a_job_goes_on_without_its_supervisor(scene: Scene, last: str, end: JobStatus) -> None:
    """Its last word decides then, since nobody hears its exit code."""
    scene.work(last=last)
    os.kill(scene.supervisor, signal.SIGKILL)
    scene.kill_server()
    scene.return_of_server()
    assert scene.manager is not None
    scene.manager.wake()
    assert scene.job.status is JobStatus.RUNNING
    scene.gate.touch()
    scene.ends(end)
    assert len(pids(scene.begun)) == 1


def kill_all(scene: Scene) -> None:
    supervisor = scene.supervisor
    scene.kill_server()
    os.kill(supervisor, signal.SIGKILL)
    os.kill(pids(scene.begun)[0], signal.SIGKILL)


def test_all_are_gone(scene: Scene) -> None:
    scene.work()
    kill_all(scene)
    scene.return_of_server()
    scene.ends(JobStatus.ERROR)
    assert "lost" in str(scene.job.error)


def test_all_are_gone_and_the_job_goes_on_where_that_was_asked_for(scene: Scene) -> None:
    scene.work(on_lost="resume")
    kill_all(scene)
    scene.return_of_server()
    wait_for(lambda: len(pids(scene.begun)) == 2 and scene.job.status is JobStatus.RUNNING)
    scene.gate.touch()
    scene.ends(JobStatus.DONE)
    assert scene.job.attempt == 2
    assert scene.words() == ["Pending", "Started", "Running", "Resuming", "Started", "Running", "Done"]


def test_a_job_that_was_not_handed_on_waits_again(tmp_path: Path) -> None:
    """As after a death between the note that it starts and its start."""
    store = Store(tmp_path / "jobs.db")
    job, _ = store.add(NewJob("fake", "train", command=until(tmp_path / "gate", tmp_path / "begun")))
    assert store.move(job, JobStatus.STARTED, "starts", attempt=1) is not None
    (tmp_path / "gate").touch()
    manager = Manager(store, tmp_path / "jobs", LocalExecutor())
    manager.start()
    wait_for(lambda: store.counts() == {"Done": 1})
    manager.stop()
    assert len(pids(tmp_path / "begun")) == 1
    store.close()
