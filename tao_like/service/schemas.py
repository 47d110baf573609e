"""What requests and responses hold, for the checks and for the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tao_like.jobs.states import JobStatus

Role = Literal["admin", "user", "read"]
# SQLite's integers, and a bound that nobody misses.
PRIORITY = 1_000_000


class Request(BaseModel):
    """A body; what it does not know is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def whole_characters(cls, content: Any) -> Any:
        """Refuse halves of a character and NUL, which JSON can name and no file or database can hold."""
        if isinstance(content, bytes):
            raise ValueError("the body is JSON; say so with Content-Type: application/json")
        try:
            text = json.dumps(content, ensure_ascii=False)
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError("it holds half of a character (\\ud800 to \\udfff)") from error
        if r"\u0000" in text.replace(r"\\", ""):
            raise ValueError("it holds the character NUL")
        return content


class JobRequest(Request):
    """A new job."""

    task: str = Field(examples=["classification"])
    action: str = Field(description="The stage to run.", examples=["train"])
    specs: dict[str, Any] = Field(
        default_factory=dict,
        description="Keys of the spec, as the YAML file has them; laid on those of data set and parent.",
        examples=[{"train": {"num_epochs": 5}}],
    )
    spec_yaml: str | None = Field(
        None, max_length=1_000_000, description="The same as the text of a YAML file, in place of `specs`."
    )
    name: str = Field("", max_length=200)
    dataset_id: str | None = Field(None, description="Data set whose suggested spec is the base.")
    parent_job_id: str | None = Field(
        None, description="Job whose spec is the base, and whose model the action takes."
    )
    model_ids: list[str] | None = Field(
        None, max_length=100, description="Models to compare, by their ids, the first as the reference."
    )
    backend: Literal["local"] = Field("local", description="Where it runs.")
    num_gpu: int | None = Field(
        None, ge=0, le=1024, description="Devices; left out: 1 where the machine has some, else 0."
    )
    priority: int = Field(0, ge=-PRIORITY, le=PRIORITY, description="Higher ones start first.")
    on_lost: Literal["fail", "resume"] = Field(
        "fail", description="What happens where its process is gone without a word, as after a power cut."
    )
    tags: list[str] = Field(default_factory=list, max_length=50)


class JobChange(Request):
    """What may be changed of a job."""

    name: str | None = Field(None, max_length=200)
    priority: int | None = Field(None, ge=-PRIORITY, le=PRIORITY)
    tags: list[str] | None = Field(None, max_length=50)


class ResumeRequest(Request):
    """What may be changed of a training that goes on."""

    specs: dict[str, Any] | None = Field(None, description="Keys that take the place of those given before.")


class DatasetRequest(Request):
    """A data set that lies on the server already."""

    task: str = Field(examples=["classification"])
    path: str = Field(description="A folder or file below one of the server's roots.")
    name: str = Field("", max_length=200)


class JobOut(BaseModel):
    """A job."""

    id: str
    name: str
    task: str
    action: str
    status: JobStatus
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
    progress: dict[str, Any] = Field(
        description="epoch, max_epoch, eta, kpi, message, as status.json has them."
    )
    specs: dict[str, Any] | None = Field(None, description="Of a single job alone.")


class JobPage(BaseModel):
    """Some jobs, the newest first."""

    jobs: list[JobOut]
    next_cursor: str | None


class DatasetOut(BaseModel):
    """A data set."""

    id: str
    name: str
    task: str
    path: str
    status: Literal["ready", "invalid"]
    message: str
    specs: dict[str, Any]
    created_on: str
    bytes: int
    sha256: str


class DatasetPage(BaseModel):
    """Some data sets, the newest first."""

    datasets: list[DatasetOut]
    next_cursor: str | None


class FileOut(BaseModel):
    """A file of a job."""

    path: str
    bytes: int


class FileList(BaseModel):
    """The files of a job."""

    files: list[FileOut]


class ModelOut(BaseModel):
    """A model that a job left."""

    id: str = Field(description="The job's id and the file's path in it, joined by a colon.")
    job_id: str
    job_name: str
    path: str
    task: str
    action: str
    kind: Literal["bundle", "onnx", "pipeline"] = Field(
        description="pipeline: a folder of several graphs with pipeline.json."
    )
    generates: bool = Field(description="It makes images of sentences: `:generate`, not `:predict`.")
    bytes: int
    created_on: str
    metrics: dict[str, float]


class ModelPage(BaseModel):
    """Some models, the newest first."""

    models: list[ModelOut]
    next_cursor: str | None


class PredictionOut(BaseModel):
    """What a model says of an image."""

    kind: str
    width: int
    height: int
    seconds: float
    prediction: dict[str, Any]


class GenerateRequest(Request):
    """An image that is asked for."""

    prompt: str = Field(max_length=10_000, description="What it shows.", examples=["a red circle"])
    seed: int = Field(0, ge=0, lt=1 << 53, description="Of its noise; the same one gives the same image.")
    settings: dict[str, int | float | str] = Field(
        default_factory=dict,
        max_length=50,
        description="Of the sampler, other than the model's own.",
        examples=[{"guidance_scale": 3.0, "steps": 20}],
    )


class ParameterOut(BaseModel):
    """A key that AutoML may vary."""

    parameter: str
    type: str
    default: Any
    help: str
    unit: str
    range: str
    choices: list[Any]


class ParameterList(BaseModel):
    """The keys that AutoML may vary."""

    parameters: list[ParameterOut]


class TaskOut(BaseModel):
    """A task and its actions."""

    name: str
    actions: list[str]
    description: str


class TaskList(BaseModel):
    """All tasks."""

    tasks: list[TaskOut]


class VersionOut(BaseModel):
    """The versions."""

    version: str
    api: str


class HealthOut(BaseModel):
    """How the server stands."""

    status: Literal["ok"]
    jobs: dict[str, int]


class WhoOut(BaseModel):
    """Who calls."""

    name: str
    role: Role


class ProblemItem(BaseModel):
    """One thing that is wrong."""

    key: str
    file: str
    line: int
    text: str


class ProblemOut(BaseModel):
    """An error, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemItem] | None = None
