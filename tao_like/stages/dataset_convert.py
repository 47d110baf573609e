"""The dataset_convert stage: the labels of a data set in another format."""

from __future__ import annotations

from typing import Any

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import Task
from tao_like.stages.results import StageResult
from tao_like.tracking import Run

SOURCES_FILE = "sources.yaml"


def run(task_type: type[Task[Any]], spec: CommonSpec, run: Run) -> StageResult:
    """Converts the labels of every split that the spec names; leaves them in the run's folder."""
    report, lines, sources = task_type(spec).convert(run.folder)
    artefact = run.artefact(SOURCES_FILE)
    with artefact as path:
        path.write_text(sources, encoding="utf-8")
    lines.append(f"For a spec: {artefact.final}")
    return StageResult("dataset_convert", run.folder, report, lines)
