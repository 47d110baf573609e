"""Data sets: uploaded ones, and folders that the server may read."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from tao_like.jobs.job import Dataset
from tao_like.service.context import Context, cursor_after, dataset_json, json_response, number_of
from tao_like.service.files.archives import only_folder, unpack
from tao_like.service.files.uploads import Received, receive
from tao_like.service.problems import ApiError
from tao_like.service.routes.jobs import Cursor, Here, Limit
from tao_like.service.schemas import DatasetOut, DatasetPage, DatasetRequest
from tao_like.service.specs import is_allowed, task_spec
from tao_like.service.suggestions import suggest

router = APIRouter(tags=["datasets"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/datasets",
    operation_id="create_dataset",
    status_code=201,
    response_model=DatasetOut,
    summary="Use data that lies on the server",
)
def create(request: DatasetRequest, here: Here) -> Response:
    """Look at a folder or file below one of the server's roots; the response has a spec that suits it."""
    task_spec(request.task, "train")
    path = Path(request.path)
    if "\0" in request.path or not path.is_absolute() or not is_allowed(request.path, here.settings):
        roots = ", ".join(map(str, here.settings.allowed_roots))
        raise ApiError(422, f"path: {request.path} is not an absolute path below one of {roots}")
    if not path.exists():
        raise ApiError(422, f"path: there is no {request.path}")
    dataset = _added(here, str(uuid.uuid4()), request.task, request.name, path.resolve(), None)
    return json_response(dataset_json(dataset), 201, Location=f"/api/v2/datasets/{dataset.id}")


@router.post(
    "/datasets:upload",
    operation_id="upload_dataset",
    status_code=201,
    response_model=DatasetOut,
    summary="Upload data",
    openapi_extra=_BODY,
)
async def upload(
    request: Request,
    here: Here,
    task: Annotated[str, Query(max_length=100)],
    name: Annotated[str, Query(max_length=200)] = "",
    x_sha256: Annotated[
        str | None, Header(pattern="^[0-9a-f]{64}$", description="Of the body; another one is refused.")
    ] = None,
) -> Response:
    """The body is a zip or tar file of the folder, as it is. It is unpacked and looked at."""
    task_spec(task, "train")
    identity = str(uuid.uuid4())
    folder = here.settings.datasets / identity
    folder.mkdir(parents=True)
    archive = folder / ".upload"
    try:
        received = await receive(request, archive, here.settings.max_upload_bytes)
        if x_sha256 not in (None, received.sha256):
            raise ApiError(422, f"X-Sha256: the body that came has the sum {received.sha256}; send it again")
        dataset = await asyncio.to_thread(_unpacked, here, identity, task, name, folder, received)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return json_response(dataset_json(dataset), 201, Location=f"/api/v2/datasets/{identity}")


def _unpacked(
    here: Context, identity: str, task: str, name: str, folder: Path, received: Received
) -> Dataset:
    archive, data = folder / ".upload", folder / "data"
    settings = here.settings
    unpack(archive, data, max_members=settings.max_members, max_bytes=settings.max_unpacked_bytes)
    archive.unlink()
    return _added(here, identity, task, name, only_folder(data), received)


def _added(
    here: Context, identity: str, task: str, name: str, path: Path, received: Received | None
) -> Dataset:
    found = suggest(task, path)
    return here.store.add_dataset(
        id=identity,
        name=name or path.name,
        task=task,
        path=str(path),
        owned=received is not None,
        status="ready" if found.ready else "invalid",
        message=found.message,
        spec=found.spec,
        bytes=received.bytes if received else 0,
        sha256=received.sha256 if received else "",
    )


@router.get("/datasets", operation_id="list_datasets", response_model=DatasetPage, summary="List data sets")
def list_datasets(here: Here, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The newest first."""
    found = here.store.datasets(before=number_of(cursor), limit=limit + 1)
    after = cursor_after(found[limit - 1].number) if len(found) > limit else None
    content: dict[str, Any] = {"datasets": [dataset_json(one) for one in found[:limit]], "next_cursor": after}
    return json_response(content)


@router.get(
    "/datasets/{dataset_id}", operation_id="get_dataset", response_model=DatasetOut, summary="Show a data set"
)
def show(dataset_id: str, here: Here) -> Response:
    """A data set with the spec that suits it."""
    return json_response(dataset_json(here.dataset(dataset_id)))


@router.delete(
    "/datasets/{dataset_id}", operation_id="delete_dataset", status_code=204, summary="Remove a data set"
)
def remove(dataset_id: str, here: Here) -> Response:
    """Forget a data set; what was uploaded is removed, a folder that was there stays."""
    dataset = here.dataset(dataset_id)
    if here.store.uses_dataset(dataset_id):
        raise ApiError(409, "a job that has not ended uses the data set; cancel it first")
    here.store.remove_dataset(dataset_id)
    if dataset.owned:
        shutil.rmtree(here.settings.datasets / dataset_id, ignore_errors=True)
    return Response(status_code=204)
