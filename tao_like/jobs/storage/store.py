"""Jobs in a database. A state changes by compare-and-swap: of two who want the same job, one wins."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tao_like.errors import TaoLikeError
from tao_like.jobs.job import Dataset, Job, NewJob, StateChange, Token
from tao_like.jobs.states import ENDED, FOLLOWS, JobStatus
from tao_like.jobs.storage.database import open_database
from tao_like.jobs.storage.tables import datasets, job_details, jobs, state_changes, tokens

_JOB_COLUMNS = [column for column in jobs.c if column.name != "idempotency_key"]


class Store:
    """The database of one server.

    Args:
        where: the SQLite file, made where there is none; or the address of a PostgreSQL database.

    Attributes:
        changes: grows with every change; a response is good as long as it stands still.
    """

    def __init__(self, where: Path | str) -> None:
        # In the same process writers queue up here; SQLite itself would have them poll.
        self._writer = threading.Lock()
        self.changes = 0
        self.engine = open_database(where)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    # --- jobs ---

    def add(self, new: NewJob) -> tuple[Job, bool]:
        """Add a job; give it, and whether it is new.

        Raises:
            TaoLikeError: the idempotency key stands for another request.
        """
        identity = str(uuid.uuid4())
        values: dict[str, Any] = {
            "id": identity,
            "version": 1,
            "task": new.task,
            "action": new.action,
            "name": new.name,
            "status": JobStatus.PENDING.value,
            "priority": new.priority,
            "gpus": new.gpus,
            "attempt": 0,
            "parent_id": new.parent_id,
            "dataset_id": new.dataset_id,
            "on_lost": new.on_lost,
            "tags": list(new.tags),
            "created": time.time(),
            "gpu_ids": [],
            "progress": {},
            "idempotency_key": new.idempotency_key,
            "request_sha256": new.request_sha256,
        }
        try:
            with self._writing() as connection:
                connection.execute(insert(jobs).values(values))
                connection.execute(
                    insert(job_details).values(job_id=identity, spec=new.spec, command=list(new.command))
                )
                _note(connection, identity, JobStatus.PENDING, "queued")
        except IntegrityError:
            if new.idempotency_key is None or (known := self.by_key(new.idempotency_key)) is None:
                raise
            if known.request_sha256 != new.request_sha256:
                raise TaoLikeError(
                    f"the idempotency key {new.idempotency_key!r} stands for another request; give a new one"
                ) from None
            return known, False
        job = self.get(identity)
        assert job is not None
        return job, True

    def get(self, identity: str) -> Job | None:
        """A job; None where there is none."""
        return self._one(select(*_JOB_COLUMNS).where(jobs.c.id == identity))

    def by_key(self, key: str) -> Job | None:
        """The job that was asked for with an idempotency key."""
        return self._one(select(*_JOB_COLUMNS).where(jobs.c.idempotency_key == key))

    def details(self, identity: str) -> tuple[dict[str, Any], list[str]]:
        """The spec that a job was given, and the words of its command where it brought its own."""
        with self.engine.connect() as connection:
            row = connection.execute(
                select(job_details.c.spec, job_details.c.command).where(job_details.c.job_id == identity)
            ).one()
        return dict(row.spec), list(row.command)

    def set_spec(self, identity: str, spec: dict[str, Any]) -> None:
        """Change a job's spec, before it starts again."""
        with self._writing() as connection:
            connection.execute(update(job_details).where(job_details.c.job_id == identity).values(spec=spec))

    def find(
        self,
        *,
        before: int | None = None,
        limit: int = 50,
        statuses: Collection[JobStatus] = (),
        task: str | None = None,
        actions: Collection[str] = (),
        dataset_id: str | None = None,
    ) -> list[Job]:
        """Jobs, the newest first; ``before``: those with a smaller number."""
        query = select(*_JOB_COLUMNS).order_by(jobs.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs.c.number < before)
        if statuses:
            query = query.where(jobs.c.status.in_([status.value for status in statuses]))
        if task is not None:
            query = query.where(jobs.c.task == task)
        if actions:
            query = query.where(jobs.c.action.in_(actions))
        if dataset_id is not None:
            query = query.where(jobs.c.dataset_id == dataset_id)
        return self._many(query)

    def queue(self, limit: int) -> list[Job]:
        """Jobs that wait for a slot, in the order in which they start."""
        waiting = [JobStatus.PENDING.value, JobStatus.RESUMING.value]
        return self._many(
            select(*_JOB_COLUMNS)
            .where(jobs.c.status.in_(waiting))
            .order_by(jobs.c.priority.desc(), jobs.c.number)
            .limit(limit)
        )

    def counts(self) -> dict[str, int]:
        """Number of jobs in each state."""
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def move(
        self,
        job: Job,
        to: JobStatus,
        message: str,
        *,
        since: Collection[JobStatus] | None = None,
        **values: Any,
    ) -> Job | None:
        """Change a job's state, if it and the attempt are still as they were seen.

        Args:
            job: as it was seen.
            to: the new state.
            message: why, for its history.
            since: the states that it may be in by now; left out: the one that was seen.
            values: further columns that change with it.

        Returns:
            The job as it is now; None where somebody else was faster.

        Raises:
            ValueError: no such change exists; a mistake of the caller.
        """
        allowed = {job.status} if since is None else set(since)
        if wrong := [status.value for status in allowed if to not in FOLLOWS[status]]:
            raise ValueError(f"{to.value} does not follow {', '.join(wrong)}")
        statement = (
            update(jobs)
            .where(
                jobs.c.id == job.id,
                jobs.c.attempt == job.attempt,
                jobs.c.status.in_([status.value for status in allowed]),
            )
            .values(status=to.value, version=jobs.c.version + 1, **_plain(values))
        )
        with self._writing() as connection:
            if connection.execute(statement).rowcount != 1:
                return None
            _note(connection, job.id, to, message)
        return self.get(job.id)

    def set(self, job: Job, **values: Any) -> None:
        """Change what a job says of itself, as long as it is in the state in which it was seen."""
        with self._writing() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job.id, jobs.c.attempt == job.attempt, jobs.c.status == job.status.value)
                .values(version=jobs.c.version + 1, **_plain(values))
            )

    def remove(self, job: Job) -> bool:
        """Remove a job that has ended."""
        with self._writing() as connection:
            gone = connection.execute(
                delete(jobs).where(jobs.c.id == job.id, jobs.c.status == job.status.value)
            )
            return gone.rowcount == 1

    def history(self, identity: str, after: int = 0) -> list[StateChange]:
        """A job's states, oldest first."""
        query = (
            select(state_changes)
            .where(state_changes.c.job_id == identity, state_changes.c.number > after)
            .order_by(state_changes.c.number)
        )
        with self.engine.connect() as connection:
            return [StateChange(**row._mapping) for row in connection.execute(query)]

    # --- data sets ---

    def add_dataset(self, **values: Any) -> Dataset:
        """Add a data set; ``values`` are the fields of `Dataset` but number, version and creation."""
        with self._writing() as connection:
            connection.execute(insert(datasets).values(version=1, created=time.time(), **values))
        found = self.dataset(values["id"])
        assert found is not None
        return found

    def dataset(self, identity: str) -> Dataset | None:
        """A data set; None where there is none."""
        with self.engine.connect() as connection:
            row = connection.execute(select(datasets).where(datasets.c.id == identity)).one_or_none()
        return None if row is None else Dataset(**row._mapping)

    def datasets(self, *, before: int | None = None, limit: int = 50) -> list[Dataset]:
        """Data sets, the newest first."""
        query = select(datasets).order_by(datasets.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(datasets.c.number < before)
        with self.engine.connect() as connection:
            return [Dataset(**row._mapping) for row in connection.execute(query)]

    def uses_dataset(self, identity: str) -> bool:
        """Whether a job that has not ended is to have a data set."""
        ended = [status.value for status in ENDED]
        query = select(func.count()).where(jobs.c.dataset_id == identity, jobs.c.status.not_in(ended))
        with self.engine.connect() as connection:
            return bool(connection.execute(query).scalar_one())

    def remove_dataset(self, identity: str) -> None:
        """Forget a data set; its files are the caller's business."""
        with self._writing() as connection:
            connection.execute(delete(datasets).where(datasets.c.id == identity))

    # --- tokens ---

    def tokens(self) -> list[Token]:
        """All who may call."""
        with self.engine.connect() as connection:
            return [Token(**row._mapping) for row in connection.execute(select(tokens))]

    def set_token(self, token: Token) -> None:
        """Add somebody, or give a new secret or role."""
        with self._writing() as connection:
            connection.execute(delete(tokens).where(tokens.c.name == token.name))
            connection.execute(insert(tokens).values(**vars(token)))

    def remove_token(self, name: str) -> bool:
        """Remove somebody; whether there was such a name."""
        with self._writing() as connection:
            return connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount == 1

    # --- parts ---

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that begins with a statement that writes: SQLite lets no reader become a writer."""
        with self._writer:
            try:
                with self.engine.begin() as connection:
                    yield connection
            finally:
                self.changes += 1

    def _one(self, query: Any) -> Job | None:
        found = self._many(query)
        return found[0] if found else None

    def _many(self, query: Any) -> list[Job]:
        with self.engine.connect() as connection:
            return [_job(row) for row in connection.execute(query)]


def _job(row: Row[Any]) -> Job:
    values = dict(row._mapping)
    values["status"] = JobStatus(values["status"])
    values["tags"], values["gpu_ids"] = tuple(values["tags"]), tuple(values["gpu_ids"])
    return Job(**values)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _note(connection: Connection, identity: str, status: JobStatus, message: str) -> None:
    connection.execute(
        insert(state_changes).values(job_id=identity, time=time.time(), status=status.value, message=message)
    )
