"""What the server says of itself: health, version, tasks, figures for Prometheus."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

import tao_like
from tao_like import tasks
from tao_like.config import iter_fields
from tao_like.jobs.states import JobStatus
from tao_like.service.context import caller_of
from tao_like.service.problems import ApiError
from tao_like.service.routes.jobs import Here
from tao_like.service.schemas import HealthOut, ParameterList, TaskList, VersionOut, WhoOut
from tao_like.service.specs import actions_of, task_spec

router = APIRouter(tags=["server"])


@router.get("/health", operation_id="get_health", response_model=HealthOut, summary="Is it there?")
def health(here: Here) -> dict[str, Any]:
    """Whether server and database answer, and the number of jobs in each state; needs no token."""
    return {"status": "ok", "jobs": here.store.counts()}


@router.get("/version", operation_id="get_version", response_model=VersionOut, summary="Versions")
def version() -> dict[str, str]:
    """Of the toolkit and of the API."""
    return {"version": tao_like.__version__, "api": "v2"}


@router.get("/auth", operation_id="get_caller", response_model=WhoOut, summary="Who am I?")
def caller(request: Request) -> dict[str, str]:
    """Name and role behind the token."""
    who = caller_of(request)
    return {"name": who.name, "role": who.role}


@router.get("/tasks", operation_id="list_tasks", response_model=TaskList, summary="Tasks and their actions")
def list_tasks() -> dict[str, Any]:
    """All tasks of the toolkit."""
    found = []
    for name in tasks.task_names():
        module = tasks.spec_module(name)
        description = (importlib.import_module(f"tao_like.tasks.{name}").__doc__ or name).strip()
        found.append({"name": name, "actions": actions_of(module), "description": description})
    return {"tasks": found}


@router.get(
    "/automl:get_param_details",
    operation_id="get_automl_parameters",
    response_model=ParameterList,
    summary="What AutoML may vary",
)
def parameters(task: Annotated[str, Query(max_length=100)]) -> dict[str, Any]:
    """The keys of a task's spec that a search over hyper-parameters may vary, with their ranges."""
    spec_class = task_spec(task, "train").Spec
    return {
        "parameters": [
            {
                "parameter": field.key,
                "type": field.type,
                "default": field.default,
                "help": field.help,
                "unit": field.unit,
                "range": field.range,
                "choices": list(field.choices),
            }
            for field in iter_fields(spec_class)
            if field.automl
        ]
    }


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(here: Here) -> Response:
    """The number of jobs in each state, and of slots, in Prometheus' text format."""
    counts = here.store.counts()
    lines = ["# HELP tao_like_jobs Jobs by state.", "# TYPE tao_like_jobs gauge"]
    lines += [
        f'tao_like_jobs{{status="{status.value}"}} {counts.get(status.value, 0)}' for status in JobStatus
    ]
    slots = here.settings.slots
    lines += ["# HELP tao_like_slots Jobs that may run side by side.", "# TYPE tao_like_slots gauge"]
    lines += [f"tao_like_slots {slots.jobs}", "# HELP tao_like_gpus Devices for jobs."]
    lines += ["# TYPE tao_like_gpus gauge", f"tao_like_gpus {len(slots.gpus)}", ""]
    return Response("\n".join(lines), media_type="text/plain; version=0.0.4; charset=utf-8")


def unknown_path(path: str) -> ApiError:
    """For a path of the API that there is not."""
    return ApiError(404, f"there is no {path}; /api/v2/docs lists what there is")
