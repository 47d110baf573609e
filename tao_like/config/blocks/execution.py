"""The block of a spec that says where the command line has a stage run: here, or by an engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tao_like.config import Problem, spec_block, spec_field

EXECUTORS = ("local", "slurm", "kubernetes", "ray")
_MEMORY = r"|\d+[KMGT]i?"
_WORD = r"|[A-Za-z0-9][A-Za-z0-9_.,@:/+-]*"
_NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"


@dataclass
class SlurmSpec:
    """What is asked of Slurm."""

    partition: str = spec_field("", "Partition; empty: the cluster's default", pattern=_WORD)
    account: str = spec_field("", "Account that pays; empty: yours", pattern=_WORD)
    time_limit: str = spec_field(
        "",
        "Longest time, such as 90 (minutes), 12:00:00 or 2-00:00:00; empty: the partition's",
        pattern=r"|(\d+-)?\d+(:\d+){0,2}",
    )
    cpus: int = spec_field(0, "Processors on each machine; 0: the cluster's default", ge=0)
    memory: str = spec_field(
        "", "Memory on each machine, such as 64G; empty: the default", pattern=r"|\d+[KMGT]?"
    )
    options: list[str] = spec_field(
        [], "Further options of sbatch, such as --constraint=a100", pattern=r"--[a-z][a-z-]*(=[^\n\r]*)?"
    )
    setup: list[str] = spec_field(
        [], "Lines of shell before the command, such as `module load cuda`", pattern=r"[^\n\r]+"
    )


@dataclass
class KubernetesSpec:
    """What is asked of Kubernetes."""

    image: str = spec_field("", "Container image with tao_like in it", pattern=_WORD)
    context: str = spec_field("", "Context of kubectl; empty: its current one", pattern=r"[^\n\r]*")
    namespace: str = spec_field("default", "Namespace", pattern=_NAME)
    claim: str = spec_field(
        "", "PersistentVolumeClaim (ReadWriteMany) with data and results", pattern=f"|{_NAME}"
    )
    mount_path: str = spec_field(
        "", "Where that volume is mounted: in the pods and, at the same path, on this machine", path=True
    )
    python: str = spec_field("python", "Python in the image", pattern=r"[^\s]+")
    cpus: int = spec_field(0, "Processors of each pod; 0: the cluster's default", ge=0)
    memory: str = spec_field("", "Memory of each pod, such as 64Gi; empty: the default", pattern=_MEMORY)
    shared_memory: str = spec_field(
        "8Gi", "Size of /dev/shm, by which loading processes hand over", pattern=r"\d+[KMGT]i?"
    )
    gpu_resource: str = spec_field(
        "nvidia.com/gpu", "Name of the GPUs as a resource", pattern=r"[a-z0-9.-]+/[A-Za-z0-9._-]+"
    )
    service_account: str = spec_field("", "Service account of the pods", pattern=f"|{_NAME}")
    node_selector: dict[str, str] = spec_field({}, "Labels that a machine must have")


@dataclass
class RaySpec:
    """What is asked of Ray."""

    address: str = spec_field(
        "http://127.0.0.1:8265", "Address of Ray's dashboard, which takes jobs", pattern=r"https?://[^\s]+"
    )
    cpus: int = spec_field(1, "Processors", ge=0)
    memory: str = spec_field("", "Memory, such as 16Gi; empty: as it comes", pattern=_MEMORY)


@dataclass
class ExecutionSpec:
    """Where the command line has a stage run. Engines need a folder that all machines see at one path."""

    executor: str = spec_field(
        "local", "local: this machine; slurm, kubernetes, ray: that engine", choices=EXECUTORS
    )
    gpus: int = spec_field(
        -1,
        "GPUs to ask for on each machine; -1: train.num_gpus for train, one for evaluate, inference and "
        "prune, none with train.accelerator=cpu and for all else",
        ge=-1,
    )
    environment: dict[str, str] = spec_field({}, "Environment variables of the run")
    slurm: SlurmSpec = spec_block(SlurmSpec, "Slurm")
    kubernetes: KubernetesSpec = spec_block(KubernetesSpec, "Kubernetes")
    ray: RaySpec = spec_block(RaySpec, "Ray Jobs")

    def check(self) -> Iterator[Problem]:
        """Kubernetes knows neither an image nor a volume by itself."""
        if self.executor == "kubernetes":
            for name, what in (
                ("image", "a container image with tao_like in it"),
                ("claim", "the PersistentVolumeClaim with data and results"),
                ("mount_path", "where that volume is mounted"),
            ):
                if not getattr(self.kubernetes, name):
                    yield Problem(f"kubernetes.{name}", f"the executor kubernetes needs it: {what}")
        for name in self.environment:
            if not name.replace("_", "a").isalnum() or name[:1].isdigit():
                yield Problem("environment", f"{name!r} is no name of an environment variable")
