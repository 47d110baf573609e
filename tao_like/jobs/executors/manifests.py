"""What Kubernetes is told of a job: an indexed Job, its headless Service, or a JobSet."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any

from tao_like.config.blocks.execution import KubernetesSpec
from tao_like.jobs.executors.base import Submission
from tao_like.jobs.executors.engine import torchrun_words
from tao_like.jobs.executors.shared import supervisor_words
from tao_like.jobs.supervisor import NODE_VARIABLE

JOBSET_API = "jobset.x-k8s.io/v1alpha2"
PORT = 29400
_GROUP = "train"
_KEPT_SECONDS = 24 * 3600
"""So long a finished Job stays to be looked at."""
_GRACE_SECONDS = 60

Manifest = dict[str, Any]


def job_manifest(submission: Submission, settings: KubernetesSpec, name: str) -> Manifest:
    """A Job whose pods are the machines, each with its number."""
    spec = _job_spec(submission, settings)
    if submission.placement.nodes > 1:
        spec["template"]["spec"]["subdomain"] = name  # gives the pods the Service's names
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(settings, name),
        "spec": {**spec, "ttlSecondsAfterFinished": _KEPT_SECONDS},
    }


def service_manifest(settings: KubernetesSpec, name: str, job_uid: str) -> Manifest:
    """The headless Service by which pods find the first one; it goes when the Job goes."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**_metadata(settings, name), "ownerReferences": [owner]},
        "spec": {
            "clusterIP": "None",
            "selector": {"job-name": name},
            "ports": [{"name": "rendezvous", "port": PORT}],
            # The first pod is looked for before it is ready.
            "publishNotReadyAddresses": True,
        },
    }


def jobset_manifest(submission: Submission, settings: KubernetesSpec, name: str) -> Manifest:
    """A JobSet of one Job; it makes the Service by itself."""
    return {
        "apiVersion": JOBSET_API,
        "kind": "JobSet",
        "metadata": _metadata(settings, name),
        "spec": {
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "failurePolicy": {"maxRestarts": 0},
            "replicatedJobs": [
                {
                    "name": _GROUP,
                    "replicas": 1,
                    "template": {"spec": _job_spec(submission, settings)},
                }
            ],
        },
    }


def first_pod(name: str, *, jobset: bool) -> str:
    """The network name of the first pod, within its namespace."""
    return f"{name}-{_GROUP}-0-0.{name}" if jobset else f"{name}-0.{name}"


def command(submission: Submission, settings: KubernetesSpec, name: str, *, jobset: bool) -> list[str]:
    """What each pod runs; the words of this machine's Python become those of the image's."""
    words = list(submission.command)
    if words and words[0] == sys.executable:
        words[0] = settings.python
    if submission.placement.nodes == 1:
        return words
    told = torchrun_words(submission, settings.python, first_pod(name, jobset=jobset), str(PORT), "0")
    # A pod learns its number from its environment, so a shell puts it in.
    node = f'--node-rank="${NODE_VARIABLE}"'
    quoted = [node if word == "--node-rank=0" else shlex.quote(word) for word in told]
    return ["sh", "-c", f"exec {' '.join(quoted)}"]


def _metadata(settings: KubernetesSpec, name: str) -> Manifest:
    labels = {"app.kubernetes.io/name": "tao-like", "app.kubernetes.io/managed-by": "tao-like"}
    return {"name": name, "namespace": settings.namespace, "labels": labels}


def _job_spec(submission: Submission, settings: KubernetesSpec) -> Manifest:
    nodes = submission.placement.nodes
    return {
        "completions": nodes,
        "parallelism": nodes,
        "completionMode": "Indexed",
        # Whether a lost job goes on from its checkpoint is not Kubernetes' to decide.
        "backoffLimit": 0,
        "template": {"spec": _pod(submission, settings)},
    }


def _pod(submission: Submission, settings: KubernetesSpec) -> Manifest:
    number = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    resources: Manifest = {}
    if submission.placement.gpus:
        resources["limits"] = {settings.gpu_resource: str(submission.placement.gpus)}
    asked = {"cpu": str(settings.cpus or ""), "memory": settings.memory}
    if any(asked.values()):
        resources["requests"] = {key: value for key, value in asked.items() if value}
    pod: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        # As whoever submits it, whom the files on the volume shall belong to.
        "securityContext": {"runAsUser": os.getuid(), "runAsGroup": os.getgid(), "fsGroup": os.getgid()},
        "containers": [
            {
                "name": "tao-like",
                "image": settings.image,
                "command": supervisor_words(settings.python, submission.folder, submission.attempt),
                "workingDir": str(submission.cwd.absolute()),
                "env": [{"name": NODE_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": number}}}],
                "resources": resources,
                "volumeMounts": [
                    {"name": "shared", "mountPath": settings.mount_path},
                    {"name": "memory", "mountPath": "/dev/shm"},
                ],
            }
        ],
        "volumes": [
            {"name": "shared", "persistentVolumeClaim": {"claimName": settings.claim}},
            # Processes that load data hand images over through it.
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
        ],
    }
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.node_selector:
        pod["nodeSelector"] = dict(settings.node_selector)
    return pod
