"""Queue, slots, cancel, pause and go on."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import real_engines
from waiting import pids, python, until, wait_for

from tao_like.errors import SpecError, TaoLikeError
from tao_like.jobs.executors import LocalExecutor, Seen, Submission
from tao_like.jobs.folder import Exit, JobFolder
from tao_like.jobs.job import Job, NewJob
from tao_like.jobs.lock import only_server
from tao_like.jobs.manager import Manager
from tao_like.jobs.slots import Slots, gpus_of_machine
from tao_like.jobs.states import ENDED, FOLLOWS, JobStatus
from tao_like.jobs.storage.database import claim
from tao_like.jobs.storage.store import Store
from tao_like.jobs.storage.tables import metadata


class Instant:
    """An executor whose jobs run as long as nobody ends them, without any process."""

    name = "instant"

    def __init__(self) -> None:
        self.submitted: list[Submission] = []
        self.codes: dict[tuple[str, int], int] = {}

    def submit(self, submission: Submission) -> None:
        submission.folder.path.mkdir(parents=True, exist_ok=True)
        self.submitted.append(submission)

    def status(self, folder: JobFolder, attempt: int) -> Seen:
        code = self.codes.get((folder.path.name, attempt))
        return Seen("running") if code is None else Seen("ended", Exit(attempt, code, 0.0, 1.0))

    def logs(self, folder: JobFolder, offset: int = 0, limit: int = 1 << 20) -> bytes:
        return b""

    def cancel(self, folder: JobFolder, attempt: int, *, kill: bool = False) -> None:
        self.codes[folder.path.name, attempt] = -9 if kill else 143

    def files(self, folder: JobFolder) -> list[Path]:
        return []

    def end(self, job: Job, code: int = 0) -> None:
        self.codes[job.id, job.attempt] = code


@pytest.fixture(scope="module")
def postgresql_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_engines.postgresql() as address:
        yield address


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.acceptance)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    where: Path | str = tmp_path / "jobs.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("postgresql_address")
    store = Store(where)
    yield store
    if request.param == "postgresql":
        metadata.drop_all(store.engine)
    store.close()


def manager_of(store: Store, tmp_path: Path, slots: Slots | None = None) -> tuple[Manager, Instant]:
    executor = Instant()
    return Manager(store, tmp_path / "jobs", executor, slots), executor


def add(store: Store, **fields: object) -> Job:
    return store.add(NewJob("classification", "train", **fields))[0]  # type: ignore[arg-type]


def now(store: Store, job: Job) -> Job:
    found = store.get(job.id)
    assert found is not None
    return found


def test_first_in_first_out_but_for_priority(store: Store, tmp_path: Path) -> None:
    jobs = [add(store), add(store), add(store, priority=5)]
    manager, executor = manager_of(store, tmp_path)
    for _ in jobs:
        manager.look()
        (running,) = store.find(statuses=[JobStatus.STARTED, JobStatus.RUNNING])
        executor.end(running)
        manager.look()
    assert [submission.folder.path.name for submission in executor.submitted] == [
        jobs[2].id,
        jobs[0].id,
        jobs[1].id,
    ]


def test_each_device_is_one_jobs_alone(store: Store, tmp_path: Path) -> None:
    manager, executor = manager_of(store, tmp_path, Slots(4, (0, 1, 2)))
    two, other, large, small = (add(store, gpus=number) for number in (2, 1, 3, 0))
    manager.look()
    devices = [submission.environment["CUDA_VISIBLE_DEVICES"] for submission in executor.submitted]
    assert devices == ["0,1", "2"]
    # Nobody overtakes the one that waits for three.
    assert now(store, small).status is JobStatus.PENDING
    executor.end(now(store, two))
    manager.look()
    assert now(store, large).status is JobStatus.PENDING
    executor.end(now(store, other))
    manager.look()
    assert now(store, large).gpu_ids == (0, 1, 2)
    assert executor.submitted[-1].environment["CUDA_VISIBLE_DEVICES"] == ""


def test_devices_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus_of_machine() == (3, 5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_of_machine() == ()


def test_the_command_is_the_ordinary_one(store: Store, tmp_path: Path) -> None:
    job = add(store, spec={"train": {"num_epochs": 3}, "results_dir": "/elsewhere"})
    manager, executor = manager_of(store, tmp_path)
    manager.look()
    folder = tmp_path / "jobs" / job.id
    (work,) = executor.submitted
    assert list(work.command[1:]) == [
        "-m",
        "tao_like.cli",
        "classification",
        "train",
        "-e",
        f"{folder}/spec.yaml",
    ]
    text = (folder / "spec.yaml").read_text()
    assert "num_epochs: 3" in text
    assert f"results_dir: {folder}/results" in text


def test_pause_and_go_on_from_the_checkpoint(store: Store, tmp_path: Path) -> None:
    job = add(store)
    manager, executor = manager_of(store, tmp_path)
    manager.look()
    manager.look()
    assert manager.pause(now(store, job)).status is JobStatus.PAUSING
    checkpoint = tmp_path / "jobs" / job.id / "results" / "train" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    manager.look()
    manager.look()
    assert now(store, job).status is JobStatus.PAUSED
    assert now(store, job).gpu_ids == ()
    other = add(store)
    manager.look()
    assert now(store, other).status is JobStatus.STARTED  # it has the slot now
    executor.end(now(store, other))
    manager.resume(now(store, job))
    manager.look()
    assert executor.submitted[-1].command[-1] == f"train.resume_training_checkpoint_path={checkpoint}"
    assert now(store, job).attempt == 2


def test_what_cannot_be_paused_says_so(store: Store, tmp_path: Path) -> None:
    manager, _ = manager_of(store, tmp_path)
    job = store.add(NewJob("classification", "export"))[0]
    with pytest.raises(TaoLikeError, match="export cannot be paused"):
        manager.pause(job)
    train = add(store)
    with pytest.raises(TaoLikeError, match="Pending cannot be paused"):
        manager.pause(train)
    with pytest.raises(TaoLikeError, match="Pending is not run again"):
        manager.retry(train)


def test_cancel_of_one_that_waits_and_of_one_that_has_ended(store: Store, tmp_path: Path) -> None:
    manager, executor = manager_of(store, tmp_path)
    job = add(store)
    assert manager.cancel(job).status is JobStatus.CANCELED
    assert manager.cancel(now(store, job)).status is JobStatus.CANCELED
    manager.look()
    assert executor.submitted == []
    assert manager.retry(now(store, job)).status is JobStatus.PENDING


def test_a_failed_job_says_why(store: Store, tmp_path: Path) -> None:
    store.add(NewJob("fake", "x", command=python("import sys; print('error: no data there'); sys.exit(2)")))
    manager = Manager(store, tmp_path / "jobs", LocalExecutor())
    manager.start()
    wait_for(lambda: store.counts() == {"Error": 1})
    manager.stop()
    (job,) = store.find()
    assert (job.exit_code, job.error) == (2, "no data there")


def test_a_stubborn_job_is_ended_after_the_grace(store: Store, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = (
        "import signal, time, os; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"print(os.getpid(), file=open({str(begun)!r}, 'a'), flush=True)\ntime.sleep(600)"
    )
    job = store.add(NewJob("fake", "train", command=python(code)))[0]
    manager = Manager(store, tmp_path / "jobs", LocalExecutor(), grace=0.3)
    manager.start()
    wait_for(lambda: now(store, job).status is JobStatus.RUNNING and pids(begun))
    manager.cancel(now(store, job))
    wait_for(lambda: now(store, job).status is JobStatus.CANCELED)
    manager.stop()
    assert now(store, job).exit_code == -9


def test_200_jobs_of_which_some_are_canceled_and_none_is_lost(store: Store, tmp_path: Path) -> None:
    manager, executor = manager_of(store, tmp_path, Slots(8))
    jobs = [add(store) for _ in range(200)]
    chance = random.Random(1)
    canceled = set()
    while not all(job.status in ENDED for job in store.find(limit=500)):
        manager.look()
        for job in store.find(statuses=[JobStatus.RUNNING, JobStatus.STARTED], limit=500):
            if chance.random() < 0.5:
                executor.end(job)
        for job in chance.sample(jobs, 3):
            if chance.random() < 0.5 and manager.cancel(now(store, job)).status is not JobStatus.DONE:
                canceled.add(job.id)
    assert sum(store.counts().values()) == 200
    ended = {job.id: job.status for job in store.find(limit=500)}
    assert set(ended) == {job.id for job in jobs}
    # One that was just done when it was to be canceled is done.
    assert {identity for identity, status in ended.items() if status is JobStatus.CANCELED} <= canceled
    for job in jobs:
        words = [change.status for change in store.history(job.id)]
        assert sum(JobStatus(word) in ENDED for word in words) == 1
        assert all(JobStatus(after) in FOLLOWS[JobStatus(before)] for before, after in pairwise(words))


def test_of_many_who_change_a_job_one_wins(store: Store) -> None:
    job = add(store)
    won: list[Job] = []

    def claim() -> None:
        if (moved := store.move(job, JobStatus.STARTED, "starts", attempt=1)) is not None:
            won.append(moved)

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [change.status for change in store.history(job.id)] == ["Pending", "Started"]


def test_a_change_that_does_not_exist_is_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="Paused does not follow Pending"):
        store.move(add(store), JobStatus.PAUSED, "")


def test_a_key_that_was_used_otherwise(store: Store) -> None:
    new = NewJob("a", "b", idempotency_key="k", request_sha256="1")
    first, is_new = store.add(new)
    assert is_new
    assert store.add(new) == (first, False)
    with pytest.raises(TaoLikeError, match="another request"):
        store.add(NewJob("a", "c", idempotency_key="k", request_sha256="2"))


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    with only_server(tmp_path), pytest.raises(SpecError, match="another server"), only_server(tmp_path):
        pass
    with only_server(tmp_path):
        pass


def test_a_job_that_begins_late_begins_not_at_all(store: Store, tmp_path: Path) -> None:
    """A supervisor of an attempt that somebody has given up meanwhile."""
    from tao_like.jobs.supervisor import supervise

    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    begun = tmp_path / "begun"
    folder.write(
        "request.json", {"attempt": 2, "command": until(begun, begun), "environment": {}, "cwd": "/"}
    )
    assert supervise(folder, 1) == 0
    assert not begun.exists()


@pytest.mark.acceptance
def test_one_server_for_a_database(postgresql_address: str) -> None:
    first, second = Store(postgresql_address), Store(postgresql_address)
    kept = claim(first.engine)
    assert kept is not None
    with pytest.raises(SpecError, match="another server is at work on postgresql"):
        claim(second.engine)
    kept.close()
    first.close()
    again = claim(second.engine)
    assert again is not None
    again.close()
    second.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://here/jobs", "mysql is not supported; give postgresql"),
        ("jobs", "it is no address; give one such as"),
    ],
)
def test_a_database_that_cannot_be_used(address: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Store(address)
