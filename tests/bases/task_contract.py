"""What tests ask of a task without a stage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tao_like.config import load_spec
from tao_like.contract.metrics import Goal
from tao_like.contract.task import AnyTask
from tao_like.tasks import spec_module, task_class


def load_task(name: str, words: Sequence[str] = ()) -> AnyTask:
    """A task at work on overrides alone."""
    return task_class(name)(load_spec(spec_module(name).Spec, None, list(words)).spec)


@cache
def goal(name: str) -> Goal:
    """What a task's model is judged by."""
    return load_task(name).phases()[-1].goal
