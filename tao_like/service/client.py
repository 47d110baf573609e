"""A client of the server for Python programs. It needs nothing but Python's own library.

client = Client("http://127.0.0.1:8042")
data = client.upload_dataset("classification", "photos")
job = client.create_job("classification", "train", dataset_id=data["id"])
print(client.wait(job["id"])["progress"]["kpi"])
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPResponse
from pathlib import Path
from typing import IO, Any, cast

from tao_like.errors import Problem, SpecError, TaoLikeError
from tao_like.service.responses import Dataset, Event, Job, Model, Prediction

URL_VARIABLE = "TAO_LIKE_SERVER"
TOKEN_VARIABLE = "TAO_LIKE_TOKEN"
CONFIG_FILE = Path("~/.config/tao_like/server.yaml")
DEFAULT_URL = "http://127.0.0.1:8042"
_SETTLED = ("Done", "Error", "Canceled", "Paused")
_CHUNK = 1 << 20


class ServerError(TaoLikeError):
    """The server did not do what it was asked for; ``status`` is HTTP's, 0 where it was not reached."""

    def __init__(self, status: int, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message, problems=problems)
        self.status = status


class Client:
    """A server.

    Args:
        url: its address; left out: ``TAO_LIKE_SERVER``, else ``url`` of ``~/.config/tao_like/server.yaml``,
            else ``http://127.0.0.1:8042``.
        token: who calls; left out: ``TAO_LIKE_TOKEN``, else ``token`` of that file, else none.
        timeout: seconds to wait for a response to begin.

    Raises:
        SpecError: the file is not as it should be.
        ServerError: (from every method) the server refuses, or is not there.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 660.0) -> None:
        known = _config() if url is None or token is None else {}
        url = url or os.environ.get(URL_VARIABLE) or known.get("url") or DEFAULT_URL
        if not url.startswith(("http://", "https://")):
            raise SpecError(f"the server's address is {url}; it must begin with http:// or https://")
        self.url = url.rstrip("/")
        self._token = token or os.environ.get(TOKEN_VARIABLE) or known.get("token")
        self._timeout = timeout

    # --- jobs ---

    def create_job(
        self,
        task: str,
        action: str,
        specs: Mapping[str, Any] | None = None,
        *,
        spec_yaml: str | None = None,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Job:
        """Ask for a job.

        Args:
            task, action: such as ``classification`` and ``train``.
            specs: keys of the spec; spec_yaml: or the text of a spec file.
            idempotency_key: the same request with it gives the same job.
            fields: name, dataset_id, parent_job_id, num_gpu, priority, on_lost, tags.
        """
        body = {"task": task, "action": action, **fields}
        if spec_yaml is not None:
            body["spec_yaml"] = spec_yaml
        if specs is not None:
            body["specs"] = dict(specs)
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return cast(Job, self._json("POST", "/jobs", body=body, headers=headers))

    def list_jobs(self, **query: Any) -> Iterator[Job]:
        """Jobs, the newest first, of all pages: status, task, action, dataset_id choose some."""
        yield from self._pages("/jobs", "jobs", query)

    def get_job(self, job_id: str) -> Job:
        """A job with its spec."""
        return cast(Job, self._json("GET", f"/jobs/{_quoted(job_id)}"))

    def change_job(self, job_id: str, **fields: Any) -> Job:
        """Change name, priority or tags."""
        return cast(Job, self._json("PATCH", f"/jobs/{_quoted(job_id)}", body=fields))

    def delete_job(self, job_id: str) -> None:
        """Remove a job that has ended, with all that it has left."""
        self._json("DELETE", f"/jobs/{_quoted(job_id)}")

    def cancel_job(self, job_id: str) -> Job:
        """Ask a job to end."""
        return self._verb(job_id, "cancel")

    def pause_job(self, job_id: str) -> Job:
        """Stop a training so that it can go on."""
        return self._verb(job_id, "pause")

    def resume_job(self, job_id: str, specs: Mapping[str, Any] | None = None) -> Job:
        """Have a stopped training go on, with some keys changed."""
        return self._verb(job_id, "resume", {"specs": dict(specs)} if specs else None)

    def retry_job(self, job_id: str) -> Job:
        """Have a job that failed or was canceled run again."""
        return self._verb(job_id, "retry")

    def get_job_logs(self, job_id: str, *, offset: int = 0, tail: int | None = None) -> str:
        """What a job has written, a mebibyte at most."""
        return self.read_log(job_id, offset, tail).decode("utf-8", "replace")

    def read_log(self, job_id: str, offset: int = 0, tail: int | None = None) -> bytes:
        """The same as bytes, in which offsets are counted."""
        query = {"offset": offset, "tail": tail}
        with self._open("GET", f"/jobs/{_quoted(job_id)}:logs", query=query) as response:
            return response.read()

    def stream_job_events(self, job_id: str, last_event_id: str | None = None) -> Iterator[Event]:
        """What a job tells, until it has ended or is paused; the last event is ``end``."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with self._open("GET", f"/jobs/{_quoted(job_id)}:events", headers=headers) as response:
            yield from _events(response)

    def list_job_files(self, job_id: str) -> list[dict[str, Any]]:
        """Path and bytes of each file that a job has left."""
        found: list[dict[str, Any]] = self._json("GET", f"/jobs/{_quoted(job_id)}:list_files")["files"]
        return found

    def download_job_file(self, job_id: str, target: str | Path, path: str | None = None) -> Path:
        """Fetch a file of a job, or all of them as a zip, into the file ``target``."""
        target = Path(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.partial")
        try:
            source = self._open("GET", f"/jobs/{_quoted(job_id)}:download", query={"path": path})
            with source, temporary.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def wait(self, job_id: str, *, timeout: float | None = None, pause: float = 1.0) -> Job:
        """The job once it has ended or is paused.

        Raises:
            ServerError: it failed, with its reason, or has not ended in ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (job := self.get_job(job_id))["status"] not in _SETTLED:
            if end is not None and time.monotonic() > end:
                raise ServerError(0, f"job {job_id} is {job['status']} after {timeout:g} s")
            time.sleep(pause)
        if job["status"] == "Error":
            raise ServerError(0, f"job {job_id} failed: {job['error']}")
        return job

    # --- data sets, models, the rest ---

    def create_dataset(self, task: str, path: str, name: str = "") -> Dataset:
        """Use data that lies on the server, below one of its roots."""
        return cast(Dataset, self._json("POST", "/datasets", body={"task": task, "path": path, "name": name}))

    def upload_dataset(self, task: str, path: str | Path, name: str = "") -> Dataset:
        """Upload a zip or tar file, or a folder, which is packed first."""
        path = Path(path)
        name = name or path.stem
        with tempfile.TemporaryDirectory() as folder:
            if path.is_dir():
                path = Path(shutil.make_archive(str(Path(folder) / "data"), "tar", path))
            with path.open("rb") as file:
                query = {"task": task, "name": name}
                return cast(Dataset, self._json("POST", "/datasets:upload", query=query, file=file))

    def list_datasets(self) -> Iterator[Dataset]:
        """Data sets, the newest first."""
        yield from self._pages("/datasets", "datasets", {})

    def get_dataset(self, dataset_id: str) -> Dataset:
        """A data set."""
        return cast(Dataset, self._json("GET", f"/datasets/{_quoted(dataset_id)}"))

    def delete_dataset(self, dataset_id: str) -> None:
        """Remove a data set."""
        self._json("DELETE", f"/datasets/{_quoted(dataset_id)}")

    def list_models(self, **query: Any) -> Iterator[Model]:
        """Models that jobs have left, the newest first."""
        yield from self._pages("/models", "models", query)

    def predict(self, job_id: str, path: str, image: str | Path) -> Prediction:
        """What the exported model of a job, a file or a folder, says of an image file."""
        with Path(image).open("rb") as file:
            response = self._json(
                "POST", f"/models/{_quoted(job_id)}:predict", query={"path": path}, file=file
            )
        return cast(Prediction, response)

    def generate(
        self, job_id: str, path: str, prompt: str, *, seed: int = 0, **settings: int | float | str
    ) -> bytes:
        """The image, as a PNG file, that the exported model of a job makes of a sentence.

        Args:
            job_id: of the job.
            path: the model's folder in its results, such as ``export/model``.
            prompt: the sentence.
            seed: of its noise.
            settings: of the sampler, such as ``guidance_scale``, other than the model's own.

        Raises:
            ServerError: the model makes no images, or a setting has no meaning.
        """
        body = {"prompt": prompt, "seed": seed, "settings": settings}
        place = f"/models/{_quoted(job_id)}:generate"
        with self._open("POST", place, query={"path": path}, body=body) as response:
            return response.read()

    def get_job_schema(self, task: str, action: str) -> dict[str, Any]:
        """The JSON schema of a task's spec."""
        query = {"task": task, "action": action}
        return cast("dict[str, Any]", self._json("GET", "/jobs:schema", query=query))

    def get_automl_parameters(self, task: str) -> list[dict[str, Any]]:
        """The keys that AutoML may vary."""
        found = self._json("GET", "/automl:get_param_details", query={"task": task})
        return cast("list[dict[str, Any]]", found["parameters"])

    def list_tasks(self) -> list[dict[str, Any]]:
        """The tasks and their actions."""
        return cast("list[dict[str, Any]]", self._json("GET", "/tasks")["tasks"])

    def get_health(self) -> dict[str, Any]:
        """How the server stands."""
        return cast("dict[str, Any]", self._json("GET", "/health"))

    def get_version(self) -> dict[str, Any]:
        """Its versions."""
        return cast("dict[str, Any]", self._json("GET", "/version"))

    def get_caller(self) -> dict[str, Any]:
        """Name and role behind the token."""
        return cast("dict[str, Any]", self._json("GET", "/auth"))

    def get_metrics(self) -> str:
        """Figures in Prometheus' text format."""
        with self._open("GET", "/metrics") as response:
            return response.read().decode()

    # --- HTTP ---

    def _verb(self, job_id: str, verb: str, body: Mapping[str, Any] | None = None) -> Job:
        return cast(Job, self._json("POST", f"/jobs/{_quoted(job_id)}:{verb}", body=body))

    def _pages(self, path: str, name: str, query: Mapping[str, Any]) -> Iterator[Any]:
        cursor = None
        while True:
            page = self._json("GET", path, query={**query, "cursor": cursor})
            yield from page[name]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _json(self, method: str, path: str, **request: Any) -> Any:
        with self._open(method, path, **request) as response:
            data = response.read()
        return json.loads(data) if data else None

    def _open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        file: IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HTTPResponse:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self.url}/api/v2{path}" + (f"?{urllib.parse.urlencode(given, doseq=True)}" if given else "")
        sent = dict(headers or {})
        data: Any = None
        if file is not None:
            data = file
            sent |= {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(os.fstat(file.fileno()).st_size),
            }
        elif body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(url, data, sent, method=method)
        try:
            return cast(HTTPResponse, urllib.request.urlopen(request, timeout=self._timeout))
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error) from error
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ServerError(
                0, f"no server answers at {self.url} ({reason}); start one with tao-like server start"
            ) from error


def _refused(error: urllib.error.HTTPError) -> ServerError:
    try:
        content = json.loads(error.read())
        problems = [Problem(**found) for found in content.get("errors") or ()]
        return ServerError(error.code, content["detail"], problems)
    except (ValueError, KeyError, TypeError):
        return ServerError(error.code, f"the server answered {error.code} {error.reason}")


def _events(response: HTTPResponse) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in response:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text and not text.startswith(":"):
            name, _, value = text.partition(": ")
            fields[name] = value
        elif not text and "event" in fields:
            yield {"id": fields.get("id", ""), "event": fields["event"], "data": json.loads(fields["data"])}
            fields = {}


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _config() -> dict[str, str]:
    path = CONFIG_FILE.expanduser()
    if not path.is_file():
        return {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise SpecError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise SpecError(f"{path}: write `url: ...` and `token: ...` in it, each as text")
    return content
