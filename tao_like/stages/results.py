"""What a stage gives back to Python callers. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_like.errors import TaoLikeError


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 error`, `2 errors`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class StageResult:
    """What every stage gives back.

    Attributes:
        stage: its name.
        folder: its run folder.
        report: what stands in report.json.
        summary: the lines that the command line shows at the end.
        failure: raised once report and summary are there: the stage's work is done, and its outcome is bad.
    """

    stage: str
    folder: Path
    report: dict[str, Any]
    summary: list[str] = field(default_factory=list)
    failure: TaoLikeError | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class DatasetCheckResult(StageResult):
    """Warnings found in the data, and the folder's images.

    Data with errors gives no result: ``run`` raises a DatasetError with a problem for each of them.
    """

    errors: int = 0
    warnings: int = 0


@dataclass(frozen=True)
class TrainResult(StageResult):
    """The trained bundle and its metrics on the validation data."""

    bundle: Path = Path()
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluateResult(StageResult):
    """The metrics, and the CSV with a row a sample."""

    metrics: dict[str, float] = field(default_factory=dict)
    predictions: Path = Path()


@dataclass(frozen=True)
class InferenceResult(StageResult):
    """A row a file, the CSV that holds them, and the files that could not be read."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    predictions: Path = Path()
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PruneResult(StageResult):
    """The narrower bundle, the fraction of the MACs that stay, and its metrics before training again."""

    bundle: Path = Path()
    macs_share: float = 1.0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportResult(StageResult):
    """The ONNX file, and its largest difference to torch."""

    onnx_file: Path = Path()
    difference: float = 0.0


@dataclass(frozen=True)
class QuantizeResult(StageResult):
    """The int8 file, its metrics and those of fp32 on the same data, and the layers left in float."""

    onnx_file: Path = Path()
    metrics: dict[str, float] = field(default_factory=dict)
    float_metrics: dict[str, float] = field(default_factory=dict)
    float_layers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CompareResult(StageResult):
    """A row a model, in the order given."""

    rows: list[dict[str, Any]] = field(default_factory=list)
