"""The dataset_convert stage: the labels of a data set in another format."""

from __future__ import annotations

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import Converts
from tao_like.contract.task import AnyTask
from tao_like.stages.results import StageResult
from tao_like.tracking import Run

SOURCES_FILE = "sources.yaml"


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> StageResult:
    """Converts the labels of every split that the spec names; leaves them in the run's folder."""
    converts = task_type(spec).capability(Converts)
    assert converts is not None, "the stage is of tasks with formats to convert between alone"
    report, lines, sources = converts.convert(run.folder)
    artefact = run.artefact(SOURCES_FILE)
    with artefact as path:
        path.write_text(sources, encoding="utf-8")
    lines.append(f"For a spec: {artefact.final}")
    return StageResult("dataset_convert", run.folder, report, lines)
