"""Jobs: asking for them, seeing how they stand, and changing that."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from tao_like.config import json_schema
from tao_like.errors import TaoLikeError
from tao_like.jobs.job import Job, NewJob
from tao_like.jobs.manager import Manager
from tao_like.jobs.states import ENDED, QUEUED, JobStatus
from tao_like.service.context import Context, context_of, cursor_after, job_json, json_response, number_of
from tao_like.service.files.output import model_path
from tao_like.service.problems import ApiError
from tao_like.service.schemas import JobChange, JobOut, JobPage, JobRequest, ResumeRequest
from tao_like.service.specs import composed, given_spec, merged, task_spec

router = APIRouter(tags=["jobs"])

Here = Annotated[Context, Depends(context_of)]
JobId = Annotated[str, Path(max_length=200, description="The job's id.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/jobs:schema", operation_id="get_job_schema", summary="JSON schema of a task's spec")
def schema(task: str, action: str) -> dict[str, Any]:
    """The JSON schema (2020-12) of the spec of a task, with defaults, ranges and meanings."""
    return json_schema(task_spec(task, action).Spec)


@router.post(
    "/jobs",
    operation_id="create_job",
    status_code=201,
    response_model=JobOut,
    summary="Ask for a job",
    responses={200: {"model": JobOut, "description": "The job that the Idempotency-Key stands for"}},
)
def create(
    request: JobRequest,
    here: Here,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Check a spec and queue a job. With an Idempotency-Key the same request again gives the same job."""
    plain = request.model_dump()
    sha256 = hashlib.sha256(json.dumps(plain, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
    if idempotency_key is not None and (known := here.store.by_key(idempotency_key)) is not None:
        return _same(here, known, sha256)
    given = given_spec(request.task, request.action, request.specs, request.spec_yaml)
    parent = here.job(request.parent_job_id) if request.parent_job_id else None
    spec = composed(
        request.task,
        request.action,
        given,
        settings=here.settings,
        dataset=here.dataset(request.dataset_id) if request.dataset_id else None,
        parent=(parent, here.store.details(parent.id)[0]) if parent else None,
        models=[model_file(here, identity) for identity in request.model_ids or ()],
    )
    slots = here.settings.slots
    gpus = request.num_gpu if request.num_gpu is not None else min(1, len(slots.gpus))
    if gpus > len(slots.gpus) and not slots.elsewhere:
        raise ApiError(422, f"num_gpu: {gpus} is more than the {len(slots.gpus)} of this server")
    try:
        job, new = here.store.add(
            NewJob(
                request.task,
                request.action,
                spec,
                name=request.name,
                priority=request.priority,
                gpus=gpus,
                parent_id=request.parent_job_id,
                dataset_id=request.dataset_id,
                on_lost=request.on_lost,
                tags=tuple(request.tags),
                idempotency_key=idempotency_key,
                request_sha256=sha256,
            )
        )
    except TaoLikeError as error:
        raise ApiError(409, str(error)) from error
    here.manager.wake()
    return _response(here, job, 201 if new else 200)


def model_file(here: Context, identity: str) -> str:
    """The file of a model, by its id. Raises ApiError (422)."""
    job_id, _, path = identity.partition(":")
    job = here.store.get(job_id)
    if job is None or not path:
        raise ApiError(422, f"model_ids: there is no model {identity}")
    try:
        return str(model_path(here.manager.folder_of(job).results, path))
    except ApiError as error:
        raise ApiError(422, f"model_ids: there is no model {identity}") from error


def _same(here: Context, job: Job, sha256: str) -> Response:
    if job.request_sha256 != sha256:
        raise ApiError(409, "this Idempotency-Key was used for another request; give a new one")
    return _response(here, job, 200)


@router.get("/jobs", operation_id="list_jobs", response_model=JobPage, summary="List jobs")
def list_jobs(
    here: Here,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Annotated[list[JobStatus] | None, Query(description="May be given several times.")] = None,
    task: str | None = None,
    action: Annotated[list[str] | None, Query(description="May be given several times.")] = None,
    dataset_id: str | None = None,
) -> Response:
    """The newest first. Jobs that are added meanwhile shift nothing: a cursor stands behind a job."""
    before = number_of(cursor)

    def page() -> dict[str, Any]:
        found = here.store.find(
            before=before,
            limit=limit + 1,
            statuses=status or (),
            task=task,
            actions=action or (),
            dataset_id=dataset_id,
        )
        after = cursor_after(found[limit - 1].number) if len(found) > limit else None
        return {"jobs": [job_json(job) for job in found[:limit]], "next_cursor": after}

    key = (limit, before, tuple(status or ()), task, tuple(action or ()), dataset_id)
    return Response(here.responses.get(key, page), media_type="application/json")


@router.post("/jobs/{job_id}:cancel", operation_id="cancel_job", response_model=JobOut, summary="End a job")
def cancel(job_id: JobId, here: Here) -> Response:
    """Ask a job to end; after half a minute it is ended by force. One that has ended stays as it is."""
    return _response(here, here.manager.cancel(here.job(job_id)))


@router.post(
    "/jobs/{job_id}:pause", operation_id="pause_job", response_model=JobOut, summary="Pause a training"
)
def pause(job_id: JobId, here: Here) -> Response:
    """Stop a training with a checkpoint, and let others have its slot."""
    return _changed(here, job_id, Manager.pause)


@router.post("/jobs/{job_id}:resume", operation_id="resume_job", response_model=JobOut, summary="Go on")
def resume(job_id: JobId, here: Here, request: ResumeRequest | None = None) -> Response:
    """Have a stopped training go on from its last checkpoint, with some keys changed where they are given."""
    job = here.job(job_id)
    if request is not None and request.specs:
        if job.status in QUEUED or job.status not in ENDED | {JobStatus.PAUSED}:
            raise ApiError(409, "specs can be changed of a job that is not at work")
        given = given_spec(job.task, job.action, request.specs, None)
        before = here.store.details(job.id)[0]
        whole = composed(job.task, job.action, merged(before, given), settings=here.settings)
        here.store.set_spec(job.id, whole)
    return _changed(here, job_id, Manager.resume)


@router.post("/jobs/{job_id}:retry", operation_id="retry_job", response_model=JobOut, summary="Run again")
def retry(job_id: JobId, here: Here) -> Response:
    """Have a job that failed or was canceled run again from its beginning."""
    return _changed(here, job_id, Manager.retry)


@router.get("/jobs/{job_id}", operation_id="get_job", response_model=JobOut, summary="Show a job")
def show(
    job_id: JobId, here: Here, if_none_match: Annotated[str | None, Header(max_length=200)] = None
) -> Response:
    """A job with its spec. With If-None-Match and the ETag of before: 304 where nothing has changed."""
    job = here.job(job_id)
    if if_none_match == _etag(job):
        return Response(status_code=304, headers={"ETag": _etag(job)})
    return _response(here, job)


@router.patch("/jobs/{job_id}", operation_id="change_job", response_model=JobOut, summary="Change a job")
def change(
    job_id: JobId,
    request: JobChange,
    here: Here,
    if_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Change name, priority or tags; with If-Match only where nothing has changed meanwhile."""
    job = here.job(job_id)
    if if_match not in (None, "*", _etag(job)):
        raise ApiError(412, "the job has changed meanwhile; read it again")
    values = {name: value for name, value in request.model_dump().items() if value is not None}
    if values:
        here.store.set(job, **values)
    return _response(here, here.job(job_id))


@router.delete("/jobs/{job_id}", operation_id="delete_job", status_code=204, summary="Remove a job")
def remove(job_id: JobId, here: Here) -> Response:
    """Remove a job that has ended, with all that it has left."""
    job = here.job(job_id)
    if job.status not in ENDED or not here.store.remove(job):
        raise ApiError(409, f"a job that is {job.status.value} cannot be removed; cancel it first")
    shutil.rmtree(here.manager.folder_of(job).path, ignore_errors=True)
    return Response(status_code=204)


def _changed(here: Context, job_id: str, change: Any) -> Response:
    try:
        return _response(here, change(here.manager, here.job(job_id)))
    except TaoLikeError as error:
        raise ApiError(409, str(error)) from error


def _response(here: Context, job: Job, status: int = 200) -> Response:
    specs = here.store.details(job.id)[0]
    return json_response(job_json(job, specs), status, ETag=_etag(job), Location=f"/api/v2/jobs/{job.id}")


def _etag(job: Job) -> str:
    return f'"{job.version}"'
