"""What jobs write: logs, events, files."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from tao_like.jobs.states import ENDED, JobStatus
from tao_like.service.context import Context, when
from tao_like.service.files.output import file_of
from tao_like.service.problems import ApiError
from tao_like.service.routes.jobs import Here, JobId
from tao_like.service.schemas import FileList

router = APIRouter(tags=["jobs"])

_POLL_SECONDS = 0.3
_HEARTBEAT_SECONDS = 15.0
_CHUNK = 1 << 18
_SETTLED = ENDED | {JobStatus.PAUSED}
# What a browser may show in place; all else it stores. HTML and SVG could hold scripts.
_SHOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".csv": "text/plain; charset=utf-8",
    ".json": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
}
_EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Events; each has an `id` to go on from, with the header Last-Event-ID",
    }
}


@router.get(
    "/jobs/{job_id}:logs",
    operation_id="get_job_logs",
    summary="What a job has written",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def logs(
    job_id: JobId,
    here: Here,
    offset: Annotated[int, Query(ge=0, le=1 << 53, description="Byte to begin with.")] = 0,
    tail: Annotated[int | None, Query(ge=1, le=1 << 20, description="Only so many bytes of the end.")] = None,
) -> Response:
    """At most a mebibyte; the header X-Next-Offset says where to go on."""
    folder = here.manager.folder_of(here.job(job_id))
    if tail is not None:
        size = folder.log.stat().st_size if folder.log.is_file() else 0
        offset = max(0, size - tail)
    data = here.manager.executor.logs(folder, offset)
    headers = {"X-Next-Offset": str(offset + len(data))}
    return Response(data, media_type="text/plain; charset=utf-8", headers=headers)


@router.get(
    "/jobs/{job_id}:events",
    operation_id="stream_job_events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses=_EVENT_STREAM,
)
def events(
    job_id: JobId,
    request: Request,
    here: Here,
    last_event_id: Annotated[str | None, Header(max_length=60)] = None,
) -> StreamingResponse:
    """Server-sent events: `state`, and what the run tells: `log`, `progress`, `metric`, `figure`, `status`.

    The stream ends with `end` when the job has ended or is paused.
    """
    here.job(job_id)
    start = _position(last_event_id)
    return StreamingResponse(
        _events(here, job_id, request, *start),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _position(last: str | None) -> tuple[int, int]:
    """Number of the last state and byte of the last line that were seen."""
    if not last:
        return 0, 0
    number, _, byte = last.partition(".")
    if not (number.isdigit() and byte.isdigit()):
        raise ApiError(422, "Last-Event-ID: it is none that this server has given; leave it out")
    return min(int(number), 1 << 62), min(int(byte), 1 << 53)


async def _events(here: Context, job_id: str, request: Request, number: int, byte: int) -> AsyncIterator[str]:
    path = here.manager.folder_of(job_id).events
    quiet_since = time.monotonic()
    while True:
        job = await asyncio.to_thread(here.store.get, job_id)
        told = False
        for change in await asyncio.to_thread(here.store.history, job_id, number):
            number, told = change.number, True
            content = {"status": change.status, "message": change.message, "time": when(change.time)}
            yield _event("state", f"{number}.{byte}", json.dumps(content))
        for line in _lines(path, byte):
            byte, told = byte + len(line), True
            if (kind := _kind(line)) is not None:
                yield _event(kind, f"{number}.{byte}", line.decode("utf-8", "replace").rstrip("\n"))
        if job is None or (job.status in _SETTLED and not told):
            yield _event(
                "end", f"{number}.{byte}", json.dumps({"status": job.status.value if job else "gone"})
            )
            return
        if told:
            quiet_since = time.monotonic()
            continue
        if time.monotonic() - quiet_since > _HEARTBEAT_SECONDS:
            quiet_since = time.monotonic()
            yield ": still here\n\n"
        if await request.is_disconnected():
            return
        await asyncio.sleep(_POLL_SECONDS)


def _event(kind: str, identity: str, data: str) -> str:
    return f"id: {identity}\nevent: {kind}\ndata: {data}\n\n"


def _lines(path: FilePath, offset: int) -> list[bytes]:
    """Whole lines of a file from a byte on, a part of it at most."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(_CHUNK)
    except FileNotFoundError:
        return []
    return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)


def _kind(line: bytes) -> str | None:
    try:
        kind = json.loads(line)["event"]
    except (ValueError, KeyError, TypeError):
        return None
    return kind if isinstance(kind, str) and kind.isalpha() else None


@router.get(
    "/jobs/{job_id}:list_files",
    operation_id="list_job_files",
    response_model=FileList,
    summary="Files that a job has left",
)
def list_files(job_id: JobId, here: Here) -> dict[str, Any]:
    """Paths within the job's results, and their sizes."""
    folder = here.manager.folder_of(here.job(job_id))
    files = here.manager.executor.files(folder)
    return {
        "files": [
            {"path": path.as_posix(), "bytes": (folder.results / path).stat().st_size} for path in files
        ]
    }


@router.get(
    "/jobs/{job_id}:download",
    operation_id="download_job_file",
    summary="Fetch a file, or all of them as a zip",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
def download(
    job_id: JobId,
    here: Here,
    path: Annotated[str | None, Query(max_length=1000, description="One of list_files; empty: all.")] = None,
) -> Response:
    """A file, or everything in a zip."""
    folder = here.manager.folder_of(here.job(job_id))
    if path is None:
        return StreamingResponse(
            _zipped(folder.results, here.manager.executor.files(folder)),
            media_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{job_id}.zip"'},
        )
    file = file_of(folder.results, path)
    shown = _SHOWN.get(file.suffix.lower())
    return FileResponse(
        file,
        media_type=shown or "application/octet-stream",
        filename=file.name,
        content_disposition_type="inline" if shown else "attachment",
    )


class _Pieces(io.RawIOBase):
    """Takes what a zip writes and hands it on, so that no whole zip is held."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data, self.parts = b"".join(self.parts), []
        return data


def _zipped(folder: FilePath, files: list[FilePath]) -> Iterator[bytes]:
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            with (
                (folder / path).open("rb") as source,
                archive.open(path.as_posix(), "w", force_zip64=True) as out,
            ):
                while chunk := source.read(_CHUNK):
                    out.write(chunk)
                    yield pieces.taken()
    yield pieces.taken()
