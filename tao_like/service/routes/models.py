"""Models: bundles and ONNX files that jobs have left, and trying one."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tao_like.errors import TaoLikeError
from tao_like.jobs.job import Job
from tao_like.jobs.states import JobStatus
from tao_like.runtime.pipeline_file import PIPELINE_FILE
from tao_like.service.context import Context, cursor_after, json_response, number_of, when
from tao_like.service.files.output import model_path
from tao_like.service.files.uploads import receive
from tao_like.service.predict import OpenModels, generates
from tao_like.service.problems import ApiError
from tao_like.service.routes.datasets import _BODY as BINARY_BODY
from tao_like.service.routes.jobs import Cursor, Here, JobId, Limit
from tao_like.service.schemas import GenerateRequest, ModelPage, PredictionOut
from tao_like.stages.lib.folders import model_bytes

router = APIRouter(tags=["models"])

MODEL_ACTIONS = ("train", "prune", "export", "quantize", "automl")
_KINDS = {".tltb": "bundle", ".onnx": "onnx"}
_FOLDER = "pipeline"
_LARGEST_IMAGE = 64 << 20
_open_models = OpenModels()


@router.get("/models", operation_id="list_models", response_model=ModelPage, summary="List models")
def list_models(here: Here, limit: Limit = 50, cursor: Cursor = None, task: str | None = None) -> Response:
    """Bundles and exported models of jobs that are done, the newest job first; the page is one of jobs."""
    found = here.store.find(
        before=number_of(cursor),
        limit=limit + 1,
        statuses=(JobStatus.DONE,),
        task=task,
        actions=MODEL_ACTIONS,
    )
    after = cursor_after(found[limit - 1].number) if len(found) > limit else None
    models = [model for job in found[:limit] for model in _models_of(here, job)]
    return json_response({"models": models, "next_cursor": after})


def _models_of(here: Context, job: Job) -> list[dict[str, Any]]:
    results = here.manager.folder_of(job).results
    folder = results / job.action
    files = sorted(path for suffix in _KINDS for path in folder.glob(f"*{suffix}"))
    files += sorted(path.parent for path in folder.glob(f"*/{PIPELINE_FILE}"))
    kpi = job.progress.get("kpi")
    return [
        {
            "id": f"{job.id}:{path.relative_to(results).as_posix()}",
            "job_id": job.id,
            "job_name": job.name,
            "path": path.relative_to(results).as_posix(),
            "task": job.task,
            "action": job.action,
            "kind": _FOLDER if path.is_dir() else _KINDS[path.suffix],
            "generates": path.is_dir() and generates(path),
            "bytes": model_bytes(path),
            "created_on": when(job.ended),
            "metrics": kpi if isinstance(kpi, dict) else {},
        }
        for path in files
    ]


Exported = Annotated[
    str, Query(max_length=1000, description="The exported file or folder within the job's results.")
]


def _exported(here: Context, job_id: str, path: str) -> Path:
    """A model that the runtime opens. Raises ApiError."""
    file = model_path(here.manager.folder_of(here.job(job_id)).results, path)
    if file.is_file() and file.suffix != ".onnx":
        raise ApiError(409, f"{path} is no exported model; run the action `export` on it first")
    return file


@router.post(
    "/models/{job_id}:predict",
    operation_id="predict",
    response_model=PredictionOut,
    summary="Try a model on an image",
    openapi_extra=BINARY_BODY,
)
async def predict(
    job_id: JobId,
    request: Request,
    here: Here,
    path: Exported,
) -> Response:
    """The body is an image file as it is; the response is the prediction, in pixels of that image."""
    file = _exported(here, job_id, path)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "picture.png"  # read by its content, whatever the name says
        await receive(request, image, _LARGEST_IMAGE)
        try:
            return json_response(await asyncio.to_thread(_open_models.predict, file, image))
        except TaoLikeError as error:
            raise ApiError(422, str(error).replace(str(image), "the image")) from error


@router.post(
    "/models/{job_id}:generate",
    operation_id="generate",
    summary="Have a model make an image",
    response_class=Response,
    responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def generate(job_id: JobId, wanted: GenerateRequest, here: Here, path: Exported) -> Response:
    """The response is a PNG file that says what it was made of; the header Server-Timing has the time."""
    file = _exported(here, job_id, path)
    try:
        image, seconds = await asyncio.to_thread(
            _open_models.generate, file, wanted.prompt, wanted.seed, wanted.settings
        )
    except TaoLikeError as error:
        raise ApiError(422, str(error)) from error
    return Response(
        image, media_type="image/png", headers={"Server-Timing": f"generate;dur={1000 * seconds:.1f}"}
    )
