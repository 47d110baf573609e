"""The dataset_check stage: bad data is named before hours are spent on it."""

from __future__ import annotations

from typing import Any

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.task import Task
from tao_like.stages.lib.findings import MOST_FILES
from tao_like.stages.results import DatasetCheckResult, counted
from tao_like.tracking import Run


def run(task_type: type[Task[Any]], spec: CommonSpec, run: Run) -> DatasetCheckResult:
    """Checks all data fully; leaves report.json and pictures in the run's folder.

    Errors do not make the stage fail: naming them is its work, and train refuses such data.
    """
    task = task_type(spec)
    done_before = 0
    with run.progress("checking files", _total(task)) as bar:

        def on_progress(done: int, total: int) -> None:
            nonlocal done_before
            bar.advance(done - done_before)
            done_before = done

        report = task.check(full=True, on_progress=on_progress)
    for name, picture in report.pictures.items():
        with run.artefact(f"{name}.png") as path:
            picture.save(path)
    counts = {level: sum(f.level == level for f in report.findings) for level in ("error", "warning", "info")}
    order = ("error", "warning", "info")
    findings = sorted(report.findings, key=lambda finding: order.index(finding.level))
    lines = [finding.text(MOST_FILES) for finding in findings]
    lines.append(
        f"{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}. "
        f"Report and pictures: {run.folder}" + ("; train will refuse this data" if counts["error"] else "")
    )
    content = {
        "errors": counts["error"],
        "warnings": counts["warning"],
        "findings": [finding.to_dict() for finding in findings],
        "pictures": [f"{name}.png" for name in report.pictures],
        "data": report.summary,
    }
    return DatasetCheckResult(
        stage="dataset_check",
        folder=run.folder,
        report=content,
        summary=lines,
        errors=counts["error"],
        warnings=counts["warning"],
    )


def _total(task: Task[Any]) -> int:
    return sum(task.count(split) for split in ("train", "val", "test") if task.has_split(split))
