"""What every task must pass when it is trained: bundle, seeds, going on where it was broken off."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from stage_runs import (
    assert_failed,
    assert_same_weights,
    break_in_second_epoch,
    status_lines,
    weights_of,
)
from task_contract import goal

from tao_like.bundle import read_bundle
from tao_like.config import spec_from_dict, to_dict
from tao_like.errors import BundleError, SpecError
from tao_like.stages.results import StageResult, TrainResult
from tao_like.tasks import spec_module


class TrainStageTests:
    """Tests of train, on the fixtures of a task's test class."""

    task: ClassVar[str]
    run: ClassVar[Callable[[str, Path, Sequence[str]], StageResult]]

    def test_train_leaves_a_bundle_and_says_so(self, trained: TrainResult) -> None:
        assert trained.bundle == trained.folder / "model.tltb"
        lines = status_lines(trained.folder)
        assert (lines[0]["status"], lines[-1]["status"]) == ("STARTED", "SUCCESS")
        assert [line["epoch"] for line in lines if "epoch" in line] == [1, 2]
        assert json.loads((trained.folder / "report.json").read_text("utf-8")) == trained.report
        metric = goal(self.task).metric
        assert 0 <= trained.metrics[metric] <= 1
        assert lines[-1]["kpi"] == trained.metrics
        assert not [path for path in trained.folder.rglob("*") if "partial" in path.name]

    def test_the_bundle_holds_the_spec_that_it_was_trained_with(self, trained: TrainResult) -> None:
        bundle = read_bundle(trained.bundle, expect_task=self.task)
        again = spec_from_dict(spec_module(self.task).Spec, bundle.spec, source="bundle")
        assert to_dict(again.spec) == bundle.spec
        assert again.spec.train.num_epochs == 2
        assert bundle.metrics == trained.metrics
        assert [entry["stage"] for entry in bundle.history] == ["train"]

    def test_a_seed_gives_the_same_weights_twice_and_another_gives_others(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        again = self.run("train", tmp_path / "same", [*data, "train.num_epochs=2"])
        assert_same_weights(trained.bundle, again.folder / "model.tltb")
        other = self.run("train", tmp_path / "other", [*data, "train.num_epochs=2", "train.seed=7"])
        with pytest.raises(AssertionError):
            assert_same_weights(trained.bundle, other.folder / "model.tltb")

    def test_a_broken_run_goes_on_to_the_weights_of_an_unbroken_one(
        self, trained: TrainResult, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            break_in_second_epoch(patch, OSError("power cut"))
            with pytest.raises(OSError, match="power cut"):
                self.run("train", tmp_path, [*data, "train.num_epochs=2"])
        assert_failed(tmp_path / "train", "power cut")
        assert not (tmp_path / "train" / "model.tltb").exists()
        resume = f"train.resume_training_checkpoint_path={tmp_path}/train/checkpoints/last.ckpt"
        result = self.run("train", tmp_path, [*data, "train.num_epochs=2", resume])
        lines = status_lines(tmp_path / "train")
        assert [line["epoch"] for line in lines if "epoch" in line] == [1, 2]
        assert_same_weights(trained.bundle, result.folder / "model.tltb")
        assert result.metrics == trained.metrics

    def test_an_interrupted_training_says_so_and_leaves_no_bundle(
        self, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        break_in_second_epoch(monkeypatch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            self.run("train", tmp_path, [*data, "train.num_epochs=2"])
        assert_failed(tmp_path / "train", "interrupted")
        assert not (tmp_path / "train" / "model.tltb").exists()

    def test_a_warm_start_begins_with_the_weights_of_the_bundle(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        overrides = [f"train.pretrained_model_path={trained.bundle}", "train.optim.lr=1e-12"]
        result = self.run("train", tmp_path, [*data, *overrides, "train.num_epochs=1"])
        before, after = weights_of(trained.bundle), weights_of(result.folder / "model.tltb")
        for name, tensor in before.items():
            # Running statistics move with every batch, whatever the learning rate is.
            if tensor.is_floating_point() and "running_" not in name:
                assert tensor.allclose(after[name], atol=1e-6), name

    def test_training_again_keeps_the_earlier_results(
        self, trained: TrainResult, data: list[str], tmp_path: Path
    ) -> None:
        earlier = tmp_path / "train"
        earlier.mkdir()
        for name in ("status.json", "model.tltb", "report.json"):
            (earlier / name).write_bytes((trained.folder / name).read_bytes())
        self.run("train", tmp_path, [*data, "train.num_epochs=1", "train.seed=7"])
        assert (tmp_path / "train-001" / "model.tltb").read_bytes() == trained.bundle.read_bytes()
        assert (tmp_path / "train" / "model.tltb").read_bytes() != trained.bundle.read_bytes()

    def test_an_unknown_metric_to_monitor_is_an_error_that_names_the_known(
        self, data: list[str], tmp_path: Path
    ) -> None:
        with pytest.raises(SpecError, match=r"train\.optim\.monitor_name.*val_nonsense.*val_loss"):
            self.run("train", tmp_path, [*data, "train.optim.monitor_name=val_nonsense"])
        assert_failed(tmp_path / "train", "val_nonsense")

    @pytest.mark.parametrize("key", ["resume_training_checkpoint_path", "pretrained_model_path"])
    def test_train_names_a_file_that_is_not_there(self, key: str, data: list[str], tmp_path: Path) -> None:
        with pytest.raises((SpecError, BundleError), match=r"nowhere\.x"):
            self.run("train", tmp_path, [*data, f"train.{key}={tmp_path / 'nowhere.x'}"])
        assert_failed(tmp_path / "train", "nowhere.x")
