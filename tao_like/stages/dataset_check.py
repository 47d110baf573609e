"""The dataset_check stage: bad data is named before hours are spent on it."""

from __future__ import annotations

from tao_like.config.blocks.common import CommonSpec
from tao_like.contract.data import Data
from tao_like.contract.sample import SPLITS
from tao_like.contract.task import AnyTask
from tao_like.errors import DatasetError, Problem
from tao_like.stages.lib.findings import MOST_FILES
from tao_like.stages.results import DatasetCheckResult, counted
from tao_like.tracking import Run


def run(task_type: type[AnyTask], spec: CommonSpec, run: Run) -> DatasetCheckResult:
    """Checks all data fully; leaves report.json and images in the run's folder, whatever is found.

    With errors in the data the result carries a DatasetError as its failure, since train refuses such data.
    """
    data = task_type(spec).data
    done_before = 0
    with run.progress("checking files", _total(data)) as bar:

        def on_progress(done: int, total: int) -> None:
            nonlocal done_before
            bar.advance(done - done_before)
            done_before = done

        report = data.check(full=True, on_progress=on_progress)
    for name, figure in report.figures.items():
        with run.artefact(f"{name}.png") as path:
            figure.save(path)
    counts = {level: sum(f.level == level for f in report.findings) for level in ("error", "warning", "info")}
    order = ("error", "warning", "info")
    findings = sorted(report.findings, key=lambda finding: order.index(finding.level))
    lines = [finding.text(MOST_FILES) for finding in findings if finding.level != "error"]
    total = (
        f"{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}. "
        f"Report and images: {run.folder}"
    )
    failure = None
    if report.errors:
        told = [finding.text(MOST_FILES).removeprefix("error: ") for finding in report.errors]
        failure = DatasetError(
            "\n".join(["the data has errors:", *told, f"{total}; train will refuse this data"]),
            problems=[Problem("", "", 0, text) for text in told],
        )
    else:
        lines.append(total)
    content = {
        "errors": counts["error"],
        "warnings": counts["warning"],
        "findings": [finding.to_dict() for finding in findings],
        "pictures": [f"{name}.png" for name in report.figures],
        "data": report.summary,
    }
    return DatasetCheckResult(
        stage="dataset_check",
        folder=run.folder,
        report=content,
        summary=lines,
        errors=counts["error"],
        warnings=counts["warning"],
        failure=failure,
    )


def _total(data: Data) -> int:
    return sum(data.count(split) for split in SPLITS if data.has(split))
