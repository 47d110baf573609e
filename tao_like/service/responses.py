"""What the server's responses hold, as the client gives it to programs."""

from __future__ import annotations

from typing import Any, TypedDict


class Job(TypedDict, total=False):
    """A job, as the server shows it; ``specs`` of a single one alone."""

    id: str
    name: str
    task: str
    action: str
    status: str
    priority: int
    num_gpu: int
    gpu_ids: list[int]
    attempt: int
    parent_job_id: str | None
    dataset_id: str | None
    on_lost: str
    tags: list[str]
    created_on: str
    started_on: str | None
    ended_on: str | None
    exit_code: int | None
    error: str | None
    progress: dict[str, Any]
    specs: dict[str, Any] | None


class Dataset(TypedDict):
    """A data set, as the server shows it; ``specs`` suit it."""

    id: str
    name: str
    task: str
    path: str
    status: str
    message: str
    specs: dict[str, Any]
    created_on: str
    bytes: int
    sha256: str


class Model(TypedDict):
    """A bundle, an ONNX file or a folder of several graphs that a job left."""

    id: str
    job_id: str
    job_name: str
    path: str
    task: str
    action: str
    kind: str
    generates: bool
    bytes: int
    created_on: str
    metrics: dict[str, float]


class Prediction(TypedDict):
    """What a model says of an image, in pixels of that image."""

    kind: str
    width: int
    height: int
    seconds: float
    prediction: dict[str, Any]


class Event(TypedDict):
    """Something that a job told; with its ``id`` one goes on behind it."""

    id: str
    event: str
    data: dict[str, Any]
