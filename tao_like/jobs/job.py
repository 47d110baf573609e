"""A job and a data set as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tao_like.jobs.states import JobStatus

OnLost = Literal["fail", "resume"]


@dataclass(frozen=True)
class NewJob:
    """What somebody asks for.

    Attributes:
        task: such as ``classification``; action: the stage, such as ``train``.
        spec: the keys that are given, as nested plain values.
        command: the words of the process; made when the job starts where it is empty.
        name: for people.
        priority: higher ones start first; equal ones in the order of asking.
        gpus: devices that it needs; 0: it runs on the CPU.
        parent_id: job whose model it takes; dataset_id: data that it takes.
        on_lost: what happens when its process is gone without a word, such as after a power cut.
        tags: for people.
        idempotency_key: a second request with it gives this job again.
        request_sha256: of the request, so that one key is not used for two of them.
    """

    task: str
    action: str
    spec: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    name: str = ""
    priority: int = 0
    gpus: int = 0
    parent_id: str | None = None
    dataset_id: str | None = None
    on_lost: OnLost = "fail"
    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None
    request_sha256: str = ""


@dataclass(frozen=True)
class Job:
    """A job as it stands in the database.

    Attributes:
        number: order of asking.
        version: counts the changes, for compare-and-swap and ETag.
        attempt: how often it has been started; 0: never.
        created, started, ended: seconds since 1970; ``stop_sent``: when its process was asked to end.
        gpu_ids: the devices that it has while it runs.
        progress: what it last said: epoch, max_epoch, eta, kpi, message.
        exit_code: of the process; negative: the signal that ended it.
        error: why it failed.
    """

    id: str
    number: int
    version: int
    task: str
    action: str
    name: str
    status: JobStatus
    priority: int
    gpus: int
    attempt: int
    parent_id: str | None
    dataset_id: str | None
    on_lost: OnLost
    tags: tuple[str, ...]
    created: float
    started: float | None
    ended: float | None
    stop_sent: float | None
    gpu_ids: tuple[int, ...]
    progress: dict[str, Any]
    exit_code: int | None
    error: str | None
    request_sha256: str = ""


@dataclass(frozen=True)
class Dataset:
    """Data that jobs may use.

    Attributes:
        path: its folder on the server; owned: the server made the folder, and removes it with the data set.
        task: the task that it is for; spec: keys that the task's ``init`` suggests for it.
        status: ``ready``, or ``invalid`` where the task cannot read it; message: what was found.
        bytes: of the upload; sha256: of the upload; both empty for a folder that was there.
    """

    id: str
    number: int
    version: int
    name: str
    task: str
    path: str
    owned: bool
    status: str
    message: str
    spec: dict[str, Any]
    created: float
    bytes: int
    sha256: str


@dataclass(frozen=True)
class StateChange:
    """A line of a job's history; ``number`` grows over all jobs."""

    number: int
    job_id: str
    time: float
    status: str
    message: str


@dataclass(frozen=True)
class Token:
    """Somebody who may call the server: name, role, and the hash of the secret."""

    name: str
    role: str
    sha256: str
    created: float
