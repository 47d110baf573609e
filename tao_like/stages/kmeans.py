"""The kmeans stage: anchors that fit the training data, in a spec of their own."""

from __future__ import annotations

from tao_like.config import to_yaml
from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.capabilities import FitsAnchors
from tao_like.contract.task import AnyTask
from tao_like.stages.results import StageResult
from tao_like.tracking import Run

SPEC_NAME = "spec_with_anchors.yaml"


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> StageResult:
    """Leaves a spec with the anchors, images and report.json in the run's folder; the user's spec stays."""
    fits = task_type(spec).capability(FitsAnchors)
    assert fits is not None, "the stage is of tasks with anchors alone"
    found = fits.fit_anchors()
    for name, figure in found.figures.items():
        with run.artefact(f"{name}.png") as path:
            figure.save(path)
    artefact = run.artefact(SPEC_NAME)
    with artefact as path:
        path.write_text(to_yaml(found.spec), encoding="utf-8")
    lines = [*found.lines, f"The spec with them: {artefact.final}"]
    return StageResult("kmeans", run.folder, found.report, lines)
