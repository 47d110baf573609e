"""The backend node tests of onnx: what could be converted once can be converted still."""

from __future__ import annotations

import csv
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """benchmarks/onnx_coverage.py as a module."""
    spec = importlib.util.spec_from_file_location("onnx_coverage", BENCHMARKS / "onnx_coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def committed(name: str) -> dict[str, int]:
    """Operation to number of tests that passed, from the committed table."""
    with (BENCHMARKS / name).open(newline="", encoding="utf-8") as file:
        return {row["op"]: int(row["passed"]) for row in csv.DictReader(file)}


def assert_not_fewer(rows: list[dict[str, object]], name: str) -> None:
    """No operation passes fewer tests than the committed table says."""
    now = {row["op"]: row["passed"] for row in rows}
    assert {op: (count, now.get(op)) for op, count in committed(name).items() if now.get(op, 0) < count} == {}


def test_the_table_does_not_shrink(benchmark: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = benchmark.table(benchmark.outcome(case, case.model) for case in benchmark.selected())
    assert_not_fewer(rows, "onnx_coverage.csv")
    total = sum(row[result] for row in rows for result in benchmark.RESULTS)
    assert total >= 1100
    assert sum(row["passed"] for row in rows) >= 0.95 * total


def test_weights_inside_the_file_train_in_every_operation_that_has_weights(benchmark: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = benchmark.table(benchmark.variants())
    assert_not_fewer(rows, "onnx_coverage_weights.csv")
    assert {row["op"] for row in rows} == set(benchmark.WEIGHTS)
    assert all(row["passed"] and not row["failed"] for row in rows)
