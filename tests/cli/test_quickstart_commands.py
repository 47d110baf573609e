"""The quickstart's commands, without their stages: what is shown is what is run, and the spec takes it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tao_like.cli import quickstart
from tao_like.cli.main import cli
from tao_like.config import load_spec
from tao_like.stages import results as kinds
from tao_like.tasks.classification.spec import Spec

EVALUATED = {"split": "test"}
ROWS = [
    {"metrics": {"accuracy": 0.9933}, "macs": 100, "median_ms": 2.0},
    {"metrics": {"accuracy": 0.98}, "macs": 40, "median_ms": 1.0},
    {"metrics": {"accuracy": 0.97}, "macs": 40, "median_ms": 0.5},
]


def outcome(stage: str, folder: Path) -> kinds.StageResult:
    """What a stage could have given."""
    if stage == "dataset_check":
        return kinds.DatasetCheckResult(stage, folder, {}, errors=0, warnings=1)
    if stage == "train":
        return kinds.TrainResult(stage, folder, {}, metrics={"accuracy": 0.5})
    if stage == "evaluate":
        return kinds.EvaluateResult(stage, folder, report=EVALUATED, metrics={"accuracy": 0.25})
    if stage == "inference":
        return kinds.InferenceResult(stage, folder, {}, rows=[{}] * 7)
    if stage == "prune":
        return kinds.PruneResult(stage, folder, {}, macs_share=0.375)
    if stage == "quantize":
        return kinds.QuantizeResult(
            stage, folder, {}, metrics={"accuracy": 0.75}, float_metrics={"accuracy": 0.875}
        )
    if stage == "compare":
        return kinds.CompareResult(stage, folder, {}, rows=ROWS)
    return kinds.ExportResult(stage, folder, report={"largest_difference": 2e-6})


def test_every_command_is_shown_as_it_is_run_and_told_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, list[str]]] = []

    def run_stage(task: str, stage: str, spec: Path, overrides: Sequence[str], **fields: Any) -> Any:
        assert fields["debug"] is False
        loaded = load_spec(Spec, spec, [*overrides]).spec
        assert Path(loaded.results_dir) == folder / "results"
        assert Path(loaded.dataset.train_dataset.images_dir) == folder / "digits" / "train"
        ran.append((stage, ["tao-like", task, stage, "-e", str(spec), *overrides]))
        return outcome(stage, tmp_path)

    monkeypatch.setattr(quickstart, "run_stage", run_stage)
    folder = tmp_path / "with a space, and more"
    told = CliRunner().invoke(cli, ["quickstart", "-o", str(folder)], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    shown = [shlex.split(line[2:]) for line in told.output.splitlines() if line.startswith("$ ")]
    assert shown[0] == ["tao-like", "samples", "digits", str(folder / "digits")]
    assert shown[1:] == [words for _, words in ran]
    assert len(list((folder / "digits").rglob("*.png"))) == 1797
    stages = [stage for stage, _ in ran]
    assert {"train", "evaluate", "inference", "prune", "export", "quantize", "compare"} <= set(stages)
    lines = told.output.partition("Done in")[2].splitlines()
    table = [re.sub(r" \d+\.\d ", " ", " ".join(line.split()), count=1) for line in lines]
    for row in (
        "dataset_check 0 errors, 1 warning",
        "train val accuracy 0.5000",
        "evaluate the ONNX file test accuracy 0.2500",
        "inference 7 predictions",
        "prune 0.38 of the arithmetic left",
        "export the pruned network differs from torch by 2e-06 at most",
        "quantize the pruned network val accuracy 0.8750 in fp32, 0.7500 in int8",
        "compare test accuracy 0.9933; pruned 0.9800 (0.40 of the arithmetic, 0.50 of the time); "
        "pruned, int8 0.9700 (0.40 of the arithmetic, 0.25 of the time)",
    ):
        assert row in table
