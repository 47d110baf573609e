"""What the routes share: the store, the manager, the settings."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from fastapi import Request, Response

from tao_like.jobs.job import Dataset, Job, Token
from tao_like.jobs.manager import Manager
from tao_like.jobs.storage.store import Store
from tao_like.service.problems import ApiError
from tao_like.service.settings import Settings

_MOST_RESPONSES = 64


class Responses:
    """Responses that are given again while nothing has changed: many people watch the same list."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._changes, self._known = -1, dict[Any, bytes]()

    def get(self, key: Any, make: Callable[[], Any]) -> bytes:
        """The JSON of what ``make`` gives, or gave since the last change."""
        with self._lock:  # of many who ask after a change, one makes it
            changes = self._store.changes  # read before the data: what changes meanwhile is not kept for new
            if changes != self._changes or len(self._known) > _MOST_RESPONSES:
                self._changes, self._known = changes, {}
            if key not in self._known:
                self._known[key] = as_json(make())
            return self._known[key]


@dataclass(frozen=True)
class Context:
    """The parts of a running server."""

    settings: Settings
    store: Store
    manager: Manager
    responses: Responses

    def job(self, identity: str) -> Job:
        """A job. Raises ApiError (404)."""
        job = self.store.get(identity)
        if job is None:
            raise ApiError(404, f"there is no job {identity}")
        return job

    def dataset(self, identity: str) -> Dataset:
        """A data set. Raises ApiError (404)."""
        dataset = self.store.dataset(identity)
        if dataset is None:
            raise ApiError(404, f"there is no data set {identity}")
        return dataset


def context_of(request: Request) -> Context:
    """The server that a request came to."""
    context: Context = request.app.state.context
    return context


def caller_of(request: Request) -> Token:
    """Who calls."""
    who: Token = request.state.who
    return who


def json_response(content: Any, status: int = 200, **headers: str) -> Response:
    """A response that was made by hand: quicker than having it checked again."""
    return Response(as_json(content), status, media_type="application/json", headers=headers or None)


def as_json(content: Any) -> bytes:
    """Content as the body of a response."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def job_json(job: Job, specs: dict[str, Any] | None = None) -> dict[str, Any]:
    """A job as the API shows it."""
    content: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "task": job.task,
        "action": job.action,
        "status": job.status.value,
        "priority": job.priority,
        "num_gpu": job.gpus,
        "gpu_ids": list(job.gpu_ids),
        "attempt": job.attempt,
        "parent_job_id": job.parent_id,
        "dataset_id": job.dataset_id,
        "on_lost": job.on_lost,
        "tags": list(job.tags),
        "created_on": when(job.created),
        "started_on": when(job.started),
        "ended_on": when(job.ended),
        "exit_code": job.exit_code,
        "error": job.error,
        "progress": job.progress,
    }
    return content if specs is None else {**content, "specs": specs}


def dataset_json(dataset: Dataset) -> dict[str, Any]:
    """A data set as the API shows it."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "task": dataset.task,
        "path": dataset.path,
        "status": dataset.status,
        "message": dataset.message,
        "specs": dataset.spec,
        "created_on": when(dataset.created),
        "bytes": dataset.bytes,
        "sha256": dataset.sha256,
    }


def when(seconds: float | None) -> str | None:
    """A moment as ISO 8601 has it, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def cursor_after(number: int) -> str:
    """A cursor that goes on behind a row."""
    return base64.urlsafe_b64encode(f"n{number}".encode()).decode().rstrip("=")


def number_of(cursor: str | None) -> int | None:
    """The row that a cursor stands behind. Raises ApiError (422)."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        number = int(text.removeprefix("n"))
    except (ValueError, binascii.Error):
        number = -1
    if not 0 <= number < 1 << 62:
        raise ApiError(422, "cursor: it is none that this server has given; leave it out to begin anew")
    return number
