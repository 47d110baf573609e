"""Jobs of a Kubernetes cluster, by kubectl: it has the cluster's address, certificates and log-in already.

kubectl is used as a client that is logged in, for plain requests (``--raw``); so nothing here depends on how
it prints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tao_like.config.blocks.execution import KubernetesSpec
from tao_like.jobs.executors.base import Submission
from tao_like.jobs.executors.engine import (
    EngineError,
    EngineExecutor,
    EngineState,
    ask,
)
from tao_like.jobs.executors.manifests import (
    JOBSET_API,
    Manifest,
    command,
    job_manifest,
    jobset_manifest,
    service_manifest,
)

_INSTALL = "install it, and log in to the cluster"
_REASONS_TO_WAIT = ("ContainerCreating", "PodInitializing")


class KubernetesExecutor(EngineExecutor[KubernetesSpec]):
    """Hands jobs to a cluster. The image has tao_like; a job's folder lies on the volume that pods mount."""

    name = "kubernetes"
    _jobset: bool | None = None

    def submit(self, submission: Submission) -> None:
        """Hand an attempt to the cluster, once."""
        for what, path in (("the job's folder", submission.folder.path), ("working folder", submission.cwd)):
            if not path.absolute().is_relative_to(Path(self._settings.mount_path).absolute()):
                raise EngineError(
                    f"execution.kubernetes.mount_path: {what}, {path}, does not lie below "
                    f"{self._settings.mount_path}, and pods see nothing else of this machine"
                )
        super().submit(submission)

    def _command(self, submission: Submission, name: str) -> list[str]:
        return command(submission, self._settings, name, jobset=self._uses_jobset(submission))

    def _uses_jobset(self, submission: Submission) -> bool:
        """JobSet is for several machines, and where the cluster has it."""
        if submission.placement.nodes == 1:
            return False
        if self._jobset is None:
            self._jobset = self._get(f"/apis/{JOBSET_API}") is not None
        return self._jobset

    def _find(self, name: str) -> str | None:
        for kind in ("jobs", "jobsets"):
            if self._get(self._path(f"{kind}/{name}")) is not None:
                return f"{kind}/{name}"
        return None

    def _start(self, submission: Submission, name: str) -> str:
        settings = self._settings
        if self._uses_jobset(submission):
            self._create("jobsets", jobset_manifest(submission, settings, name))
            return f"jobsets/{name}"
        job = self._create("jobs", job_manifest(submission, settings, name))
        if submission.placement.nodes > 1:
            self._create("services", service_manifest(settings, name, str(job["metadata"]["uid"])))
        return f"jobs/{name}"

    def _look(self, reference: str) -> EngineState:
        found = self._get(self._path(reference))
        if found is None:
            return EngineState("gone", "it is not there any more")
        status = found.get("status", {})
        for condition in status.get("conditions", []):
            if condition.get("status") == "True" and condition.get("type") in (
                "Complete",
                "Failed",
                "Completed",
            ):
                reason = [str(condition.get(key, "")) for key in ("type", "reason", "message")]
                return EngineState("gone", " ".join(filter(None, reason)))
        if reference.startswith("jobsets/"):
            groups = status.get("replicatedJobsStatus", [])
            ready = any(group.get("ready") or group.get("active") for group in groups)
        else:
            ready = bool(status.get("ready"))
        if ready:
            return EngineState("running", f"Kubernetes' {reference}")
        return EngineState("queued", f"waits in Kubernetes as {reference}{self._why(reference)}")

    def _why(self, reference: str) -> str:
        """What holds up the pods, in brackets; empty where nothing is known."""
        kind, _, name = reference.partition("/")
        label = "job-name" if kind == "jobs" else "jobset.sigs.k8s.io/jobset-name"
        pods = (self._get(self._path("pods") + f"?labelSelector={label}%3D{name}") or {}).get("items", [])
        for pod in pods:
            status = pod.get("status", {})
            for container in status.get("containerStatuses", []):
                waiting = container.get("state", {}).get("waiting", {})
                if waiting and waiting.get("reason") not in _REASONS_TO_WAIT:
                    return f" ({waiting.get('reason')}: {waiting.get('message', '')})"
            for condition in status.get("conditions", []):
                if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                    return f" ({condition.get('reason')}: {condition.get('message', '')})"
        return ""

    def _end(self, reference: str) -> None:
        # The pods go first: without a word on it, deleting a Job by a plain request leaves them, and a Job
        # that goes before them would look like one that is over.
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        try:
            self._kubectl("delete", self._path(reference), options)
        except _NotFound:
            return

    # --- requests ---

    def _path(self, rest: str) -> str:
        kind = rest.partition("/")[0]
        group = {"jobs": "apis/batch/v1", "jobsets": f"apis/{JOBSET_API}"}.get(kind, "api/v1")
        return f"/{group}/namespaces/{self._settings.namespace}/{rest}"

    def _get(self, path: str) -> dict[str, Any] | None:
        """What lies at a path; None where nothing does."""
        try:
            return self._kubectl("get", path)
        except _NotFound:
            return None

    def _create(self, kind: str, manifest: Manifest) -> dict[str, Any]:
        return self._kubectl("create", self._path(kind), manifest)

    def _kubectl(self, verb: str, path: str, body: Manifest | None = None) -> dict[str, Any]:
        words = ["kubectl", *([f"--context={self._settings.context}"] if self._settings.context else [])]
        words += [verb, "--raw", path, *(["--filename=-"] if body is not None else [])]
        given = json.dumps(body) if body is not None else None
        try:
            said = ask(words, given=given, install=_INSTALL)
        except EngineError as error:
            if "(NotFound)" in str(error) or "could not find the requested resource" in str(error):
                raise _NotFound(str(error)) from error
            raise
        try:
            content = json.loads(said)
        except ValueError:
            raise EngineError(f"kubectl {verb} --raw {path}: its response is no JSON") from None
        return content if isinstance(content, dict) else {}


class _NotFound(EngineError):
    """The cluster has no such thing."""
