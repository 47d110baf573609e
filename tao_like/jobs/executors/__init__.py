"""Where jobs run: one protocol, and a module for each place."""

from __future__ import annotations

from tao_like.jobs.executors.base import Executor, Seen, Submission
from tao_like.jobs.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "Seen", "Submission"]
