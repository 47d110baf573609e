"""What every task must pass when its networks are pruned and trained again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from stage_runs import (
    assert_failed,
    assert_rows_agree,
    assert_same_weights,
    break_in_second_epoch,
    csv_rows,
    status_lines,
    weights_of,
)
from task_contract import goal, load_task

from tao_like.bundle import file_sha256, read_bundle, write_bundle
from tao_like.contract.capabilities import Distils
from tao_like.errors import ConversionError, SpecError
from tao_like.stages.results import EvaluateResult, ExportResult, PruneResult, StageResult, TrainResult

# A tiny network has few channels, so each may go; two steps, so that the training in between is seen.
LITTLE_BY_LITTLE = ("prune.granularity=2", "prune.target_macs=0.6", "prune.steps=2")


class PruneStageTests:
    """Tests of prune, and of training again, on the fixtures of a task's test class."""

    task: ClassVar[str]
    run: ClassVar[Callable[[str, Path, Sequence[str]], StageResult]]

    @pytest.fixture(scope="class")
    @classmethod
    def pruned(
        cls, trained: TrainResult, data: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> PruneResult:
        """The trained bundle, pruned in two steps."""
        overrides = [*data, f"prune.checkpoint={trained.bundle}", *LITTLE_BY_LITTLE]
        result = cls.run("prune", tmp_path_factory.mktemp("pruned"), overrides)
        assert isinstance(result, PruneResult)
        return result

    @pytest.fixture(scope="class")
    @classmethod
    def again(
        cls, pruned: PruneResult, data: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> TrainResult:
        """The pruned bundle, trained for two epochs more."""
        overrides = [*data, f"train.pruned_model_path={pruned.bundle}", "train.num_epochs=2"]
        result = cls.run("train", tmp_path_factory.mktemp("again"), overrides)
        assert isinstance(result, TrainResult)
        return result

    def test_prune_leaves_a_smaller_bundle_and_says_what_it_cost(
        self, trained: TrainResult, pruned: PruneResult
    ) -> None:
        report = json.loads((pruned.folder / "report.json").read_text("utf-8"))
        assert report == pruned.report
        assert report["macs_share"] == pytest.approx(0.6, abs=0.1)
        assert 0 < report["parameters"]["after"] < report["parameters"]["before"]
        assert report["latency"]["median_ms"]["after"] > 0
        assert report["largest_difference"] < 1e-3
        metric = goal(self.task).metric
        assert report["metrics"]["before"][metric] == pytest.approx(trained.metrics[metric], abs=1e-6)
        assert any(layer["after"] < layer["before"] for layer in report["layers"])
        assert status_lines(pruned.folder)[-1]["status"] == "SUCCESS"
        assert (pruned.folder / "channels.png").stat().st_size > 0
        assert not [path for path in pruned.folder.rglob("*") if "partial" in path.name]

    def test_a_pruned_bundle_keeps_what_the_trained_one_says(
        self, trained: TrainResult, pruned: PruneResult
    ) -> None:
        before, after = read_bundle(trained.bundle), read_bundle(pruned.bundle, expect_task=self.task)
        for name in ("spec", "classes", "preparation", "thresholds", "split"):
            assert getattr(after, name) == getattr(before, name), name
        assert after.metrics == pruned.metrics
        assert [entry["stage"] for entry in after.history] == ["train", "prune"]
        assert after.history[-1]["parent"] == file_sha256(trained.bundle)

    def test_a_pruned_bundle_evaluates_to_the_metrics_that_prune_promised(
        self, pruned: PruneResult, data: list[str], tmp_path: Path
    ) -> None:
        overrides = [*data, f"evaluate.checkpoint={pruned.bundle}", "evaluate.split=val"]
        result = self.run("evaluate", tmp_path, overrides)
        assert isinstance(result, EvaluateResult)
        assert result.metrics == pytest.approx(pruned.metrics, abs=1e-6)

    def test_a_retrained_bundle_exports_and_the_file_answers_alike(
        self, again: TrainResult, pruned: PruneResult, data: list[str], tmp_path: Path
    ) -> None:
        bundle = read_bundle(again.bundle)
        assert [entry["stage"] for entry in bundle.history] == ["train", "prune", "train"]
        assert bundle.history[-1]["parent"] == file_sha256(pruned.bundle)
        shapes = {name: tensor.shape for name, tensor in weights_of(again.bundle).items()}
        assert shapes == {name: tensor.shape for name, tensor in weights_of(pruned.bundle).items()}
        exported = self.run("export", tmp_path, [*data, f"export.checkpoint={again.bundle}"])
        assert isinstance(exported, ExportResult)
        scored = [
            self.run("evaluate", tmp_path / name, [*data, f"evaluate.checkpoint={model}"])
            for name, model in (("bundle", again.bundle), ("onnx", exported.onnx_file))
        ]
        one, other = (result for result in scored if isinstance(result, EvaluateResult))
        assert_rows_agree(csv_rows(one.predictions), csv_rows(other.predictions))

    def test_a_retrained_bundle_is_pruned_and_trained_once_more(
        self, again: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        overrides = [*data, f"prune.checkpoint={again.bundle}", "prune.ratio=0.3", "prune.granularity=2"]
        second = self.run("prune", tmp_path, [*overrides, "prune.criterion=magnitude_l2"])
        assert isinstance(second, PruneResult)
        assert second.macs_share < 1
        third = self.run(
            "train", tmp_path, [*data, f"train.pruned_model_path={second.bundle}", "train.num_epochs=1"]
        )
        assert isinstance(third, TrainResult)
        stages = [entry["stage"] for entry in read_bundle(third.bundle).history]
        assert stages == ["train", "prune", "train", "prune", "train"]

    def test_a_broken_retraining_goes_on_to_the_weights_of_an_unbroken_one(
        self,
        again: TrainResult,
        pruned: PruneResult,
        data: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        overrides = [*data, f"train.pruned_model_path={pruned.bundle}", "train.num_epochs=2"]
        with monkeypatch.context() as patch:
            break_in_second_epoch(patch, OSError("power cut"))
            with pytest.raises(OSError, match="power cut"):
                self.run("train", tmp_path, overrides)
        checkpoint = tmp_path / "train" / "checkpoints" / "last.ckpt"
        resume = f"train.resume_training_checkpoint_path={checkpoint}"
        result = self.run("train", tmp_path, [*overrides, resume])
        assert_same_weights(again.bundle, result.folder / "model.tltb")

    def test_a_network_learns_from_a_teacher_of_its_own_classes_alone(
        self, trained: TrainResult, pruned: PruneResult, again: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        prune = [f"train.pruned_model_path={pruned.bundle}", "train.num_epochs=2"]
        teacher = f"train.distill.teacher_model_path={trained.bundle}"
        if load_task(self.task).capability(Distils) is None:
            with pytest.raises(SpecError, match="cannot learn from a teacher"):
                self.run("train", tmp_path, [*data, *prune, teacher])
            return
        taught = self.run("train", tmp_path, [*data, *prune, teacher])
        with pytest.raises(AssertionError):
            assert_same_weights(again.bundle, taught.folder / "model.tltb")
        bundle = read_bundle(trained.bundle)
        other = tmp_path / "other.tltb"
        write_bundle(other, dataclasses.replace(bundle, classes=[f"{name}!" for name in bundle.classes]))
        for key in ("train.distill.teacher_model_path", "train.pruned_model_path"):
            with pytest.raises(SpecError, match=f"{key}.*knows other classes"):
                self.run("train", tmp_path / "refused", [*data, f"{key}={other}"])

    def test_pruning_nothing_is_an_error_that_leaves_the_old_results(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        old = tmp_path / "prune" / "model.tltb"
        old.parent.mkdir()
        old.write_text("an older bundle")
        overrides = [f"prune.checkpoint={trained.bundle}", "prune.ratio=0.3", "prune.granularity=1024"]
        with pytest.raises(SpecError, match=r"nothing would be pruned.*prune\.granularity"):
            self.run("prune", tmp_path, [*data, *overrides])
        assert_failed(tmp_path / "prune", "nothing would be pruned")
        assert old.read_text() == "an older bundle"

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ConversionError("cannot be pruned")])
    def test_a_pruning_that_does_not_end_well_leaves_no_bundle(
        self,
        error: BaseException,
        trained: TrainResult,
        data: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: Any) -> float:
            raise error

        monkeypatch.setattr("tao_like.stages.prune.stage.remove_proven", fail)
        before = trained.bundle.read_bytes()
        with pytest.raises(type(error)):
            self.run("prune", tmp_path, [*data, f"prune.checkpoint={trained.bundle}", *LITTLE_BY_LITTLE])
        assert status_lines(tmp_path / "prune")[-1]["status"] == "FAILURE"
        assert not (tmp_path / "prune" / "model.tltb").exists()
        assert trained.bundle.read_bytes() == before
