"""What every task must pass in quantize and compare. ``TaskStagesTest`` inherits it."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx
import pytest
from PIL import Image
from stage_runs import (
    assert_failed,
    copy_model,
    csv_rows,
    graph_file,
    model_size,
    status_lines,
)
from task_contract import goal

from tao_like import runtime
from tao_like.bundle import file_sha256, read_bundle, write_bundle
from tao_like.errors import BundleError, SpecError
from tao_like.stages.results import (
    CompareResult,
    EvaluateResult,
    ExportResult,
    QuantizeResult,
    StageResult,
    TrainResult,
)

ANY_DROP = "quantize.max_drop=1"
"""A network that has learnt for two epochs may lose any fraction of so few samples."""
FEW_ROUNDS = "compare.rounds=5"


class QuantizeStageTests:
    """Needs the fixtures ``data``, ``trained`` and ``exported`` and the methods of ``TaskStagesTest``."""

    task: ClassVar[str]
    input_formats: ClassVar[tuple[str, ...]]
    fixed_batch: ClassVar[int]
    counts_apart: ClassVar[float] = 0.0
    """By what fraction parameters and MACs of a bundle and its graphs may differ."""

    @classmethod
    def run(cls, stage: str, results: Path, overrides: Sequence[str]) -> StageResult:
        """Runs a stage; the base tests have it."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def quantized(
        cls, exported: ExportResult, data: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> QuantizeResult:
        """The exported file in int8."""
        return cls.quantize(exported.onnx_file, data, tmp_path_factory.mktemp("quantized"))

    @classmethod
    def quantize(
        cls, checkpoint: Path, data: list[str], results: Path, overrides: Sequence[str] = ()
    ) -> QuantizeResult:
        """Runs quantize on a file."""
        words = [*data, f"quantize.checkpoint={checkpoint}", ANY_DROP, *overrides]
        result = cls.run("quantize", results, words)
        assert isinstance(result, QuantizeResult)
        return result

    # --- quantize ---

    def test_a_quantized_file_says_of_itself_what_the_fp32_file_says(
        self, quantized: QuantizeResult, exported: ExportResult
    ) -> None:
        lines = status_lines(quantized.folder)
        assert (lines[0]["status"], lines[-1]["status"]) == ("STARTED", "SUCCESS")
        assert json.loads((quantized.folder / "report.json").read_text("utf-8")) == quantized.report
        assert quantized.onnx_file == quantized.folder / "model_int8.onnx"
        before, after = (runtime.load(r.onnx_file).metadata for r in (exported, quantized))
        same = dataclasses.replace(after, extra=before.extra, tool_version=before.tool_version)
        assert same == before
        layers = after.extra["quantization"]["int8_layers"]
        assert layers == len(quantized.report["int8_layers"]) > 0
        assert after.extra["quantization"]["processors"] == "any"
        graph = onnx.load(quantized.onnx_file)
        onnx.checker.check_model(graph, full_check=True)
        assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
        assert model_size(quantized.onnx_file) < model_size(exported.onnx_file)

    def test_every_operator_is_in_int8_or_has_a_reason(self, quantized: QuantizeResult) -> None:
        report = quantized.report
        assert sum(report["float_operators"].values()) == len(report["float_reasons"])
        assert all(report["float_reasons"].values())
        assert not set(report["float_reasons"]) & set(report["int8_layers"])

    def test_evaluate_gives_the_metrics_that_quantize_reports(
        self, quantized: QuantizeResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        for name, file, promised in (
            ("int8", quantized.onnx_file, quantized.metrics),
            ("fp32", exported.onnx_file, quantized.float_metrics),
        ):
            words = [*data, f"evaluate.checkpoint={file}", "evaluate.split=val"]
            result = self.run("evaluate", tmp_path / name, words)
            assert isinstance(result, EvaluateResult)
            assert result.metrics == pytest.approx(promised, abs=1e-6)

    def test_inference_and_runtime_take_the_quantized_file(
        self, quantized: QuantizeResult, data: list[str], tmp_path: Path
    ) -> None:
        files = self.make_source(tmp_path / "input")
        words = [*data, f"inference.checkpoint={quantized.onnx_file}", f"inference.source={files[0].parent}"]
        rows = csv_rows(self.run("inference", tmp_path, words).predictions)  # type: ignore[attr-defined]
        predictions = runtime.load(quantized.onnx_file).predict(files)
        for prediction, row in zip(predictions, rows, strict=True):
            assert prediction.source == row["path"]
            self.assert_same_prediction(dataclasses.asdict(prediction), row)

    def test_a_bundle_is_exported_for_it_and_gives_the_same_file(
        self, trained: TrainResult, quantized: QuantizeResult, data: list[str], tmp_path: Path
    ) -> None:
        again = self.quantize(trained.bundle, data, tmp_path)
        assert again.onnx_file.read_bytes() == quantized.onnx_file.read_bytes()
        assert runtime.load(again.onnx_file).metadata.bundle_sha256 == file_sha256(trained.bundle)

    @pytest.mark.parametrize("algorithm", ["entropy", "percentile"])
    def test_other_forms_of_input_and_other_ranges_work_too(
        self, algorithm: str, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        form = self.input_formats[-1 if algorithm == "entropy" else 0]
        overrides = [
            f"export.input_format={form}",
            f"export.batch_size={self.fixed_batch if algorithm == 'entropy' else -1}",
            f"quantize.algorithm={algorithm}",
            "quantize.num_samples=5",
        ]
        result = self.quantize(trained.bundle, data, tmp_path, overrides)
        inputs = runtime.load(result.onnx_file).metadata.inputs
        assert next(iter(inputs.values())).input_format == form
        assert result.report["calibration"] == {"split": "train", "samples": 5, "algorithm": algorithm}

    def test_a_layer_is_left_in_float_by_name(
        self, quantized: QuantizeResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        first = quantized.report["int8_layers"][0]
        result = self.quantize(exported.onnx_file, data, tmp_path, [f"quantize.skip_names=['{first}']"])
        assert first not in result.report["int8_layers"]
        assert "skip_names" in result.float_layers[first]
        extra = runtime.load(result.onnx_file).metadata.extra["quantization"]
        assert extra["float_layers"] == sorted([first, *quantized.float_layers])

    def test_what_cannot_be_quantized_is_named_and_the_old_file_stays(
        self, quantized: QuantizeResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        foreign = tmp_path / "foreign.onnx"
        graph = onnx.load(graph_file(exported.onnx_file))
        del graph.metadata_props[:]
        onnx.save(graph, foreign)
        old = tmp_path / "quantize" / "model_int8.onnx"
        old.parent.mkdir()
        old.write_text("an older file")
        everything = "quantize.skip_names=['*']"
        for checkpoint, overrides, words in (
            (quantized.onnx_file, [], "quantized already"),
            (foreign, [], "not exported by tao_like"),
            (tmp_path / "none.onnx", [], "no file"),
            (exported.onnx_file, [everything], "nothing to quantize"),
            (exported.onnx_file, ["quantize.skip_names=['no such layer']"], "no such layer"),
        ):
            with pytest.raises((SpecError, BundleError), match=words) as caught:
                self.quantize(checkpoint, data, tmp_path, overrides)
            assert caught.value.exit_code == 2
            assert_failed(tmp_path / "quantize", words)
            assert old.read_text() == "an older file"

    def test_without_a_model_quantize_and_compare_say_what_to_do(
        self, data: list[str], tmp_path: Path
    ) -> None:
        for stage, key in (("quantize", "checkpoint"), ("compare", "checkpoints")):
            with pytest.raises(SpecError, match=rf"{stage}\.{key}.*train first"):
                self.run(stage, tmp_path, data)

    # --- compare ---

    def test_compare_finds_what_the_stages_left_and_counts_all_alike(
        self,
        trained: TrainResult,
        exported: ExportResult,
        quantized: QuantizeResult,
        data: list[str],
        tmp_path: Path,
    ) -> None:
        for file in (trained.bundle, exported.onnx_file, quantized.onnx_file):
            copy_model(file, tmp_path / file.parent.name / file.name)
        result = self.run("compare", tmp_path, [*data, FEW_ROUNDS])
        assert isinstance(result, CompareResult)
        assert [row["form"] for row in result.rows] == ["bundle", "ONNX fp32", "ONNX int8"]
        assert [row["bytes"] for row in result.rows] == [
            model_size(path) for path in (trained.bundle, exported.onnx_file, quantized.onnx_file)
        ]
        for key in ("parameters", "macs"):
            counts = [row[key] for row in result.rows]
            assert 0 < max(counts) <= min(counts) * (1 + self.counts_apart)
        assert all(0 < row["median_ms"] <= row["p95_ms"] for row in result.rows)
        assert [row["processors"] for row in result.rows] == [None, None, "any"]
        assert "hold on any processor" in (result.folder / "log.txt").read_text("utf-8")
        metric = goal(self.task).metric
        assert result.rows[1]["metrics"][metric] == result.rows[0]["metrics"][metric]
        expected = self.run("evaluate", tmp_path, [*data, f"evaluate.checkpoint={quantized.onnx_file}"])
        assert isinstance(expected, EvaluateResult)
        assert result.rows[2]["metrics"] == pytest.approx(expected.metrics, abs=1e-6)
        self.assert_compared(result, metric)

    def assert_compared(self, result: CompareResult, metric: str) -> None:
        """The files of a comparison hold its rows."""
        assert json.loads((result.folder / "report.json").read_text("utf-8"))["rows"] == result.rows
        with (result.folder / "comparison.csv").open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        assert [line["name"] for line in lines] == [row["name"] for row in result.rows]
        assert [float(line[metric]) for line in lines] == [row["metrics"][metric] for row in result.rows]
        with Image.open(result.folder / "comparison.png") as image:
            assert image.size[0] > 400
        assert metric in (result.folder / "log.txt").read_text("utf-8")

    def test_compare_refuses_models_of_other_classes_or_another_task(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        bundle = read_bundle(trained.bundle)
        others: dict[str, Any] = {
            "juggling": dataclasses.replace(bundle, task="juggling"),
            "fish": dataclasses.replace(bundle, classes=["fish", *bundle.classes[1:]], prompts={}),
        }
        for word, other in others.items():
            write_bundle(tmp_path / f"{word}.tltb", other)
            given = f"compare.checkpoints=['{trained.bundle}','{tmp_path / f'{word}.tltb'}']"
            with pytest.raises(BundleError, match=word) as caught:
                self.run("compare", tmp_path, [*data, given, FEW_ROUNDS])
            assert caught.value.exit_code == 2
            assert_failed(tmp_path / "compare", word)
