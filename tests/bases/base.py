"""What every task must pass at every stage. A task's own test file says how its data is made."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx
import pytest
from base_devices import DeviceTests
from base_faults import FaultTests
from base_processes import ProcessTests
from base_prune import PruneStageTests
from base_quantize import QuantizeStageTests
from base_train import TrainStageTests
from stage_runs import (
    PROBABILITY_TOLERANCE,
    assert_failed,
    assert_rows_agree,
    csv_rows,
    status_lines,
)
from task_contract import goal, load_task

import tao_like
from tao_like import runtime
from tao_like.bundle import file_sha256, read_bundle, write_bundle
from tao_like.errors import BundleError, ConversionError, DatasetError, SpecError
from tao_like.stages.results import (
    DatasetCheckResult,
    EvaluateResult,
    ExportResult,
    InferenceResult,
    StageResult,
    TrainResult,
)

OF_THE_STAGE: Mapping[str, tuple[str, ...]] = {
    "test_a_broken_retraining_goes_on_to_the_weights_of_an_unbroken_one": ("clip", "pose_classification"),
    "test_a_bundle_is_exported_for_it_and_gives_the_same_file": ("classification", "pointpillars"),
    "test_a_layer_is_left_in_float_by_name": ("clip", "segmentation"),
    "test_a_network_learns_from_a_teacher_of_its_own_classes_alone": ("classification", "segmentation"),
    "test_a_pruning_that_does_not_end_well_leaves_no_bundle": ("classification", "pose_classification"),
    "test_a_retrained_bundle_exports_and_the_file_answers_alike": (
        *("classification", "clip", "detection"),
        *("pointpillars", "pose_classification", "segmentation"),
    ),
    "test_a_retrained_bundle_is_pruned_and_trained_once_more": ("classification", "clip"),
    "test_a_training_whose_process_was_killed_goes_on_to_the_same_weights": (
        "classification",
        "pose_classification",
    ),
    "test_a_seed_gives_the_same_weights_twice_and_another_gives_others": (
        "classification",
        "pose_classification",
    ),
    "test_a_warm_start_begins_with_the_weights_of_the_bundle": ("clip", "detection", "pose_classification"),
    "test_an_export_that_answers_differently_fails_and_leaves_the_old_file": ("clip", "segmentation"),
    "test_an_interrupted_training_says_so_and_leaves_no_bundle": ("clip", "segmentation"),
    "test_compare_refuses_models_of_other_classes_or_another_task": ("clip", "pose_classification"),
    "test_figures_of_two_processes_are_those_that_one_finds": ("classification", "pose_classification"),
    "test_other_forms_of_input_and_other_ranges_work_too": ("classification", "clip", "pointpillars"),
    "test_pruning_nothing_is_an_error_that_leaves_the_old_results": ("classification", "pointpillars"),
    # tests/stages/train/test_sharding.py shows it in make test.
    "test_sharded_weights_learn_what_whole_ones_do": (),
    "test_training_again_keeps_the_earlier_results": ("pose_classification", "segmentation"),
    "test_what_cannot_be_quantized_is_named_and_the_old_file_stays": ("classification", "pointpillars"),
}
"""Tests of what a stage does whatever the task is, and the tasks with which `make test` runs them; `make
acceptance` runs them with the others."""

RUNTIME_SCRIPT = """\
import dataclasses, json, sys
from tao_like.runtime import load

predictions = load(sys.argv[1]).predict(sys.argv[2:])
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([[dataclasses.asdict(one) for one in predictions], modules]))
"""


def given(stage: str, model: TrainResult | ExportResult) -> list[str]:
    """The override that lets ``stage`` work on the model of a result."""
    path = model.bundle if isinstance(model, TrainResult) else model.onnx_file
    return [f"{stage}.checkpoint={path}"]


class TaskStagesTest(
    DeviceTests, FaultTests, ProcessTests, PruneStageTests, QuantizeStageTests, TrainStageTests
):
    """Inherit from it, in a class whose name begins with ``Test``, and fill in what is left open here."""

    task: ClassVar[str]  # its name
    tiny: ClassVar[tuple[str, ...]]  # the smallest network that learns something in two epochs on one core
    left_to_acceptance: ClassVar[
        tuple[str, ...]
    ] = ()  # tests that take long and show what another task shows
    input_formats: ClassVar[tuple[str, ...]] = ("uint8_nhwc", "float_nchw")  # that exported files can have
    fixed_batch: ClassVar[int] = 2  # that an exported file can be limited to; 1: it takes one sample a call

    @classmethod
    def is_left_to_acceptance(cls, test: str, parameters: Mapping[str, Any]) -> bool:
        """Whether `make test` leaves a test out: it takes long, and another task shows the same."""
        return (
            test in cls.left_to_acceptance
            or cls.task not in OF_THE_STAGE.get(test, (cls.task,))
            or cls.is_another_task_s_turn(test, parameters)
        )

    @classmethod
    def make_data(cls, folder: Path, *, missing: bool = False, corrupt: bool = False) -> list[str]:
        """Writes train, val and test data, and gives the overrides that name it.

        Args:
            folder: new or empty.
            missing: write nothing, and name a folder below ``folder`` that is not there.
            corrupt: one training file, whose name holds the word ``corrupt``, cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def make_source(cls, folder: Path, *, corrupt: bool = False) -> list[Path]:
        """Writes three input files for inference, of one suffix; the second cannot be read if ``corrupt``."""
        raise NotImplementedError

    def assert_same_prediction(self, prediction: Mapping[str, Any], row: Mapping[str, str]) -> None:
        """The runtime's prediction, as JSON, says what the row of predictions.csv says."""
        raise NotImplementedError

    @classmethod
    def run(cls, stage: str, results: Path, overrides: Sequence[str]) -> StageResult:
        """Runs a stage with the tiny settings; ``overrides`` win."""
        return tao_like.run(
            cls.task, stage, None, [*cls.tiny, f"results_dir={results}", *overrides], quiet=True
        )

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
        """Overrides that name the data of all tests."""
        return cls.make_data(tmp_path_factory.mktemp("data"))

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, data: list[str], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
        """A training of two epochs, whose results no test changes."""
        result = cls.run("train", tmp_path_factory.mktemp("trained"), [*data, "train.num_epochs=2"])
        assert isinstance(result, TrainResult)
        return result

    @pytest.fixture(scope="class")
    @classmethod
    def exported(
        cls, trained: TrainResult, data: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> ExportResult:
        """The trained bundle as an ONNX file."""
        result = cls.run("export", tmp_path_factory.mktemp("exported"), [*data, *given("export", trained)])
        assert isinstance(result, ExportResult)
        return result

    @pytest.fixture(scope="class")
    @classmethod
    def evaluated(
        cls, trained: TrainResult, data: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> EvaluateResult:
        """What the trained bundle finds on the test data."""
        words = [*data, *given("evaluate", trained)]
        result = cls.run("evaluate", tmp_path_factory.mktemp("evaluated"), words)
        assert isinstance(result, EvaluateResult)
        return result

    def test_tests_that_some_tasks_run_for_all_are_there(self) -> None:
        left = {name for name, tasks in OF_THE_STAGE.items() if self.task in tasks} & {
            *self.left_to_acceptance
        }
        assert not left
        for name, tasks in OF_THE_STAGE.items():
            assert callable(getattr(TaskStagesTest, name))
            assert self.task not in tasks or callable(getattr(self, name))

    # --- dataset_check ---

    def test_dataset_check_finds_no_error_in_good_data(self, data: list[str], tmp_path: Path) -> None:
        result = self.run("dataset_check", tmp_path, data)
        assert isinstance(result, DatasetCheckResult)
        assert result.errors == 0
        assert status_lines(result.folder)[-1]["status"] == "SUCCESS"
        assert json.loads((result.folder / "report.json").read_text("utf-8"))["errors"] == 0

    def test_corrupt_data_is_named_by_the_check_and_refused_by_train(self, tmp_path: Path) -> None:
        bad = self.make_data(tmp_path / "data", corrupt=True)
        with pytest.raises(DatasetError, match="corrupt"):
            self.run("dataset_check", tmp_path / "results", bad)
        assert_failed(tmp_path / "results" / "dataset_check", "train will refuse this data")
        report = json.loads((tmp_path / "results" / "dataset_check" / "report.json").read_text("utf-8"))
        assert report["errors"] > 0
        assert "corrupt" in json.dumps(report["findings"])
        with pytest.raises(DatasetError, match="corrupt"):
            self.run("train", tmp_path / "results", bad)
        assert_failed(tmp_path / "results" / "train", "corrupt")
        assert not (tmp_path / "results" / "train" / "model.tltb").exists()

    @pytest.mark.parametrize("stage", ["dataset_check", "train"])
    def test_missing_data_is_named(self, stage: str, tmp_path: Path) -> None:
        overrides = self.make_data(tmp_path / "data", missing=True)
        with pytest.raises((DatasetError, SpecError), match=str(tmp_path / "data")) as caught:
            self.run(stage, tmp_path / "results", overrides)
        assert caught.value.exit_code == 2
        assert_failed(tmp_path / "results" / stage, str(tmp_path / "data"))

    # --- evaluate ---

    def test_evaluate_gives_the_metrics_that_train_promised(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        result = self.run("evaluate", tmp_path, [*data, *given("evaluate", trained), "evaluate.split=val"])
        assert isinstance(result, EvaluateResult)
        assert result.metrics.keys() == trained.metrics.keys()
        metric = goal(self.task).metric
        assert result.metrics[metric] == pytest.approx(trained.metrics[metric], abs=1e-6)

    def test_evaluate_answers_alike_for_the_bundle_and_the_onnx_file(
        self, evaluated: EvaluateResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        onnx = self.run("evaluate", tmp_path, [*data, *given("evaluate", exported)])
        assert isinstance(onnx, EvaluateResult)
        assert_rows_agree(csv_rows(evaluated.predictions), csv_rows(onnx.predictions))
        assert onnx.metrics == pytest.approx(evaluated.metrics, abs=PROBABILITY_TOLERANCE)

    def test_evaluate_twice_is_equal_at_any_batch_size(
        self, trained: TrainResult, evaluated: EvaluateResult, data: list[str], tmp_path: Path
    ) -> None:
        overrides = [*data, *given("evaluate", trained)]
        second = self.run("evaluate", tmp_path, overrides)
        assert isinstance(second, EvaluateResult)
        assert second.report == evaluated.report
        assert second.predictions.read_bytes() == evaluated.predictions.read_bytes()
        third = self.run("evaluate", tmp_path, [*overrides, "evaluate.batch_size=3"])
        assert isinstance(third, EvaluateResult)
        assert_rows_agree(csv_rows(evaluated.predictions), csv_rows(third.predictions))

    @pytest.mark.parametrize("stage", ["evaluate", "inference", "export"])
    def test_a_model_that_cannot_be_used_is_named(
        self, stage: str, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        content = trained.bundle.read_bytes()
        half, foreign = tmp_path / "half.tltb", tmp_path / "foreign.tltb"
        half.write_bytes(content[: len(content) // 2])
        bundle = read_bundle(trained.bundle)
        write_bundle(foreign, dataclasses.replace(bundle, task="juggling"))
        for path, words in ((half, "half"), (foreign, "juggling"), (tmp_path / "none.tltb", "none")):
            with pytest.raises((SpecError, BundleError), match=words) as caught:
                self.run(stage, tmp_path / "results", [*data, f"{stage}.checkpoint={path}"])
            assert caught.value.exit_code == 2
            assert_failed(tmp_path / "results" / stage, words)

    @pytest.mark.parametrize("stage", ["evaluate", "inference", "export"])
    def test_without_a_training_the_stage_says_what_to_do(
        self, stage: str, data: list[str], tmp_path: Path
    ) -> None:
        with pytest.raises(SpecError, match=rf"{stage}\.checkpoint.*train first"):
            self.run(stage, tmp_path, data)

    # --- inference ---

    def test_inference_answers_a_file_a_folder_and_a_pattern_alike(
        self, trained: TrainResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        files = self.make_source(tmp_path / "in put")
        folder = self.infer(files[0].parent, trained, data, tmp_path / "folder")
        assert [row["path"] for row in folder.rows] == [str(path) for path in files]
        pattern = self.infer(files[0].parent / f"*{files[0].suffix}", trained, data, tmp_path / "pattern")
        assert pattern.rows == folder.rows
        images = pattern.folder / "pictures"
        (images / "mine.png").write_bytes(b"")
        single = self.infer(files[1], trained, data, tmp_path / "pattern")
        assert len(list(images.iterdir())) == 2, "that of this run, and what is the user's own"
        assert (images / "mine.png").exists()
        assert_rows_agree(single.rows, folder.rows[1:2])
        onnx = self.infer(files[0].parent, exported, data, tmp_path / "onnx")
        assert_rows_agree(onnx.rows, folder.rows)
        assert len(list((folder.folder / "pictures").iterdir())) == len(files)

    def test_inference_skips_a_corrupt_file_or_stops(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        files = self.make_source(tmp_path / "input", corrupt=True)
        result = self.infer(files[0].parent, trained, data, tmp_path / "skip")
        assert [row["path"] for row in result.rows] == [str(files[0]), str(files[2])]
        assert len(result.skipped) == 1
        assert files[1].name in result.skipped[0]
        with pytest.raises(DatasetError, match=files[1].name):
            self.infer(files[0].parent, trained, [*data, "inference.on_error=stop"], tmp_path / "stop")
        assert_failed(tmp_path / "stop" / "inference", files[1].name)
        assert not (tmp_path / "stop" / "inference" / "predictions.csv").exists()

    def test_inference_names_a_source_that_is_not_there(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        for source in ("nowhere", "nowhere/*.none"):
            with pytest.raises(DatasetError, match=r"inference\.source.*nowhere"):
                self.infer(tmp_path / source, trained, data, tmp_path / "results")

    def infer(
        self, source: Path, model: TrainResult | ExportResult, data: list[str], results: Path
    ) -> InferenceResult:
        """Runs inference of ``model`` on ``source``."""
        overrides = [f"inference.source={source}", *given("inference", model)]
        result = self.run("inference", results, [*data, *overrides])
        assert isinstance(result, InferenceResult)
        return result

    # --- export and runtime ---

    @pytest.mark.parametrize(
        ("number", "batch_size"),
        [
            (0, -1),
            (1, 2),
            *(pytest.param(*pair, marks=pytest.mark.acceptance) for pair in ((0, 2), (1, -1))),
        ],
    )
    def test_an_exported_file_describes_itself_and_answers_as_the_bundle(
        self,
        number: int,
        batch_size: int,
        trained: TrainResult,
        evaluated: EvaluateResult,
        data: list[str],
        tmp_path: Path,
    ) -> None:
        form = self.input_formats[number % len(self.input_formats)]
        settings = [f"export.input_format={form}", f"export.batch_size={min(batch_size, self.fixed_batch)}"]
        file = tmp_path / "new folder" / "other name.onnx"
        overrides = [*data, *given("export", trained), *settings, f"export.onnx_file={file}"]
        result = self.run("export", tmp_path, overrides)
        assert isinstance(result, ExportResult)
        assert result.onnx_file == file
        graph = onnx.load(file)
        onnx.checker.check_model(graph, full_check=True)
        assert {item.domain for item in graph.opset_import} <= {"", "ai.onnx"}
        metadata = runtime.load(file).metadata
        assert (metadata.task, metadata.input_format) == (self.task, form)
        assert metadata.bundle_sha256 == file_sha256(trained.bundle)
        assert metadata.classes == read_bundle(trained.bundle).classes
        actual = self.run("evaluate", tmp_path / "onnx", [*data, *given("evaluate", result)])
        assert isinstance(actual, EvaluateResult)
        assert_rows_agree(csv_rows(evaluated.predictions), csv_rows(actual.predictions))

    @pytest.mark.parametrize("difference", [1.0, float("nan")])
    def test_an_export_that_answers_differently_fails_and_leaves_the_old_file(
        self,
        difference: float,
        trained: TrainResult,
        data: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        kind = type(load_task(self.task).predictions)
        monkeypatch.setattr(kind, "difference", lambda *_: difference)
        (tmp_path / "export").mkdir()
        (tmp_path / "export" / "model.onnx").write_text("an older file")
        with pytest.raises(ConversionError, match=r"export\.tolerance"):
            self.run("export", tmp_path, [*data, *given("export", trained)])
        assert_failed(tmp_path / "export", "export.tolerance")
        assert (tmp_path / "export" / "model.onnx").read_text() == "an older file"
        assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]

    def test_the_runtime_answers_as_inference_does_and_loads_no_torch(
        self, trained: TrainResult, exported: ExportResult, data: list[str], tmp_path: Path
    ) -> None:
        files = self.make_source(tmp_path / "input")
        expected = self.infer(files[0].parent, trained, data, tmp_path / "results")
        command = [sys.executable, "-c", RUNTIME_SCRIPT, str(exported.onnx_file), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        predictions, modules = json.loads(done.stdout)
        assert not {"torch", "timm", "torchvision", "lightning_fabric", "onnx", "yaml"} & set(modules)
        for prediction, row in zip(predictions, csv_rows(expected.predictions), strict=True):
            assert prediction["source"] == row["path"]
            self.assert_same_prediction(prediction, row)
