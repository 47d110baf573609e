"""The tasks. A folder here with a ``spec.py`` and a ``task.py`` is a task; nothing registers it.

This module imports no task, so that the command line can list them at once.
"""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from tao_like.errors import SpecError

if TYPE_CHECKING:
    from types import ModuleType

    from tao_like.contract.task import AnyTask


def task_names() -> list[str]:
    """Names of all tasks, sorted: of this folder, and of others that a program has added to ``__path__``."""
    return sorted(path.parent.name for folder in __path__ for path in Path(folder).glob("*/task.py"))


def spec_module(name: str) -> ModuleType:
    """The task's ``spec`` module: ``Spec``, ``STAGES`` and ``ARCHITECTURES``. Imports no torch.

    Raises:
        SpecError: there is no such task.
    """
    names = task_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SpecError(f"There is no task '{name}'.{hint} Tasks: {', '.join(names)}.")
    return importlib.import_module(f"tao_like.tasks.{name}.spec")


def task_class(name: str) -> type[AnyTask]:
    """The task's class (imports torch).

    Raises:
        SpecError: there is no such task.
    """
    spec_module(name)
    module = importlib.import_module(f"tao_like.tasks.{name}.task")
    found: type[AnyTask] = module.TASK
    return found
