"""Runs the code of a notebook in this process, as Jupyter would, without Jupyter."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tao_like

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
MAKERS = ("text_to_image",)
"""Tasks whose networks make images: these have no classes, and are not converted to int8."""
MAGIC = re.compile(r"^%.*$", re.MULTILINE)
"""Lines for IPython: they open TensorBoard."""


@dataclass
class NotebookRun:
    """What a run of a notebook left.

    Attributes:
        names: the notebook's variables.
        shown: what its cells show: the value of each cell's last line.
        calls: what `tao_like.run` was given: task, stage, spec and overrides.
        folder: where it ran.
    """

    names: dict[str, Any] = field(default_factory=dict)
    shown: list[Any] = field(default_factory=list)
    calls: list[tuple[str, str, str, list[str]]] = field(default_factory=list)
    folder: Path = field(default_factory=Path.cwd)


def read_cells(path: Path, kind: str) -> list[str]:
    """The texts of a notebook's cells of one kind, ``code`` or ``markdown``."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def run_notebook(
    path: Path,
    patch: pytest.MonkeyPatch,
    caps: dict[str, tuple[str, ...]] | None = None,
    own_data: Path | None = None,
) -> NotebookRun:
    """Runs all code cells from top to bottom in one namespace, in the present folder.

    Args:
        path: the notebook.
        patch: takes back what is put in the place of `tao_like.run`.
        caps: overrides to add to each stage's, by its name.
        own_data: takes the place of the sample data, as the notebook tells its readers to do it.
    """
    done = NotebookRun()
    original = tao_like.run

    def run(task: str, stage: str, spec: Any, overrides: Any = ()) -> Any:
        done.calls.append((task, stage, str(spec), list(overrides)))
        return original(task, stage, spec, [*overrides, *(caps or {}).get(stage, ())])

    patch.setattr(tao_like, "run", run)
    # Notebooks set it; so it is taken back too.
    patch.setenv("TENSORBOARD_BINARY", "")
    sources = read_cells(path, "code")
    if own_data:
        place = re.compile(r"^DATA = .*$", re.MULTILINE)
        assert sum(len(place.findall(source)) for source in sources) == 1
        sources = [place.sub(f"DATA = Path({str(own_data)!r})", source) for source in sources]
    for source in sources:
        tree = ast.parse(MAGIC.sub("", source))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, path.name, "exec"), done.names)
        if last is not None:
            done.shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), done.names))
    return done
