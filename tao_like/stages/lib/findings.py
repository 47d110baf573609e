"""What a check of the data means for a run: errors stop it, warnings are said."""

from __future__ import annotations

from tao_like.contract.data import DataReport
from tao_like.errors import DatasetError
from tao_like.tracking import Run

MOST_FILES = 5


def stop_on_errors(report: DataReport, run: Run) -> None:
    """Says warnings, and raises all errors together.

    Raises:
        DatasetError: the data has errors.
    """
    for finding in report.findings:
        if finding.level == "warning":
            run.warning(finding.text(MOST_FILES).removeprefix("warning: "))
    if report.errors:
        lines = [finding.text(MOST_FILES).removeprefix("error: ") for finding in report.errors]
        raise DatasetError("\n".join(["the data has errors:", *lines]))
