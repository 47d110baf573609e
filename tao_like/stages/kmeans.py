"""The kmeans stage: anchors that fit the training data, in a spec of their own."""

from __future__ import annotations

from typing import Any

from tao_like.config import to_yaml
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import Task
from tao_like.stages.results import StageResult
from tao_like.tracking import Run

SPEC_NAME = "spec_with_anchors.yaml"


def run(task_type: type[Task[Any]], spec: CommonSpec, run: Run) -> StageResult:
    """Leaves a spec with the anchors, pictures and report.json in the run's folder; the user's spec stays."""
    found = task_type(spec).fit_anchors()
    for name, picture in found.pictures.items():
        with run.artefact(f"{name}.png") as path:
            picture.save(path)
    artefact = run.artefact(SPEC_NAME)
    with artefact as path:
        path.write_text(to_yaml(found.spec), encoding="utf-8")
    lines = [*found.lines, f"The spec with them: {artefact.final}"]
    return StageResult("kmeans", run.folder, found.report, lines)
