"""Where jobs run: one protocol, and a module for each place."""

from __future__ import annotations

from tao_like.config.blocks.execution import ExecutionSpec
from tao_like.jobs.executors.base import Executor, Placement, Seen, Submission
from tao_like.jobs.executors.engine import EngineError
from tao_like.jobs.executors.local import LocalExecutor

__all__ = ["EngineError", "Executor", "LocalExecutor", "Placement", "Seen", "Submission", "executor_of"]


def executor_of(execution: ExecutionSpec) -> Executor:
    """The executor that a spec asks for."""
    if execution.executor == "slurm":
        from tao_like.jobs.executors.slurm import SlurmExecutor

        return SlurmExecutor(execution.slurm)
    if execution.executor == "kubernetes":
        from tao_like.jobs.executors.kubernetes import KubernetesExecutor

        return KubernetesExecutor(execution.kubernetes)
    if execution.executor == "ray":
        from tao_like.jobs.executors.ray import RayExecutor

        return RayExecutor(execution.ray)
    return LocalExecutor()
