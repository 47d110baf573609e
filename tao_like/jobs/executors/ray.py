"""Jobs of a Ray cluster, by its REST API: that needs no installation of Ray on this side, nor its version."""

from __future__ import annotations

import json
import re
import shlex
import sys
from functools import cached_property
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from tao_like.config.blocks.execution import RaySpec
from tao_like.jobs.executors.base import Submission
from tao_like.jobs.executors.engine import (
    EngineError,
    EngineExecutor,
    EngineState,
)
from tao_like.jobs.executors.shared import python_path, supervisor_words

_SECONDS = 30.0
_STOP_SECONDS = 30
"""From Ray's request to end to its end by force; a training writes a checkpoint in it."""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class RayExecutor(EngineExecutor[RaySpec]):
    """Hands jobs to Ray Jobs. Its machines need this installation and a job's folder under the same paths."""

    name = "ray"

    @cached_property
    def _open(self) -> OpenerDirector:
        is_here = "//127.0.0.1" in self._settings.address
        return build_opener(ProxyHandler({})) if is_here else build_opener()

    def _find(self, name: str) -> str | None:
        return name if self._call("GET", f"/api/jobs/{name}") is not None else None

    def _start(self, submission: Submission, name: str) -> str:
        placement = submission.placement
        if placement.nodes > 1:
            raise EngineError(
                f"train.num_nodes: Ray Jobs runs a job on one machine, and {placement.nodes} are asked for; "
                "take slurm or kubernetes, or one machine with more GPUs"
            )
        words = supervisor_words(sys.executable, submission.folder, submission.attempt)
        body: dict[str, Any] = {
            "submission_id": name,
            "entrypoint": shlex.join(words),
            "entrypoint_num_cpus": self._settings.cpus,
            "entrypoint_num_gpus": placement.gpus,
            "runtime_env": {
                "env_vars": {"PYTHONPATH": python_path(), "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)}
            },
        }
        if self._settings.memory:
            body["entrypoint_memory"] = _bytes(self._settings.memory)
        self._call("POST", "/api/jobs/", body)
        return name

    def _look(self, reference: str) -> EngineState:
        found = self._call("GET", f"/api/jobs/{reference}")
        status = str((found or {}).get("status", ""))
        message = str((found or {}).get("message") or "")
        if status == "PENDING":
            return EngineState("queued", f"waits in Ray as {reference}: {message}".rstrip(": "))
        if status == "RUNNING":
            return EngineState("running", f"Ray's job {reference}")
        return EngineState("gone", f"{status} {message}".strip())

    def _end(self, reference: str) -> None:
        self._call("POST", f"/api/jobs/{reference}/stop")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """What Ray answers; None where it knows no such job."""
        address = self._settings.address.rstrip("/")
        data = json.dumps(body).encode() if body is not None else None
        request = Request(address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with self._open.open(request, timeout=_SECONDS) as response:
                content = json.loads(response.read())
        except HTTPError as error:
            if error.code == 404 and method == "GET":
                return None
            said = error.read().decode("utf-8", "replace").strip().splitlines()
            raise EngineError(f"Ray at {address}: {said[-1] if said else error}") from error
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise EngineError(
                f"execution.ray.address: {address} does not answer as Ray's dashboard does ({reason})"
            ) from error
        return content if isinstance(content, dict) else {}


def _bytes(text: str) -> int:
    """Bytes of a size such as 16Gi or 500M."""
    number, unit, binary = re.fullmatch(r"(\d+)([KMGT]?)(i?)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 ** " KMGT".index(unit) if binary else _UNITS[unit])
