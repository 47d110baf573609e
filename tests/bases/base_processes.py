"""What every task must pass when it trains in two processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from processes import train_in_processes
from stage_runs import assert_failed, assert_same_weights, distance, status_lines, weights_of

from tao_like.bundle import read_bundle
from tao_like.stages.results import EvaluateResult, StageResult


class ProcessTests:
    """Tests of training in two processes, on the fixtures of a task's test class."""

    task: ClassVar[str]
    tiny: ClassVar[tuple[str, ...]]
    run: ClassVar[Callable[[str, Path, Sequence[str]], StageResult]]

    @pytest.fixture(scope="class")
    @classmethod
    def by_two(cls, data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of a training of two epochs in two processes."""
        results = tmp_path_factory.mktemp("by two")
        codes = train_in_processes(cls.task, results, [*cls.tiny, *data, "train.num_epochs=2"])
        assert codes == [0, 0]
        return results / "train"

    def test_figures_of_two_processes_are_those_that_one_finds(
        self, by_two: Path, data: list[str], tmp_path: Path
    ) -> None:
        lines = status_lines(by_two)
        assert [line["status"] for line in lines].count("STARTED") == 1
        assert lines[-1]["status"] == "SUCCESS"
        bundle = read_bundle(by_two / "model.tltb")
        words = [*data, f"evaluate.checkpoint={by_two / 'model.tltb'}", "evaluate.split=val"]
        result = self.run("evaluate", tmp_path, words)
        assert isinstance(result, EvaluateResult)
        assert result.metrics == pytest.approx(bundle.metrics, abs=1e-4)
        # The best epoch is kept: what it came to with its samples divided over two processes.
        kept = [line["kpi"] for line in lines if "epoch" in line]
        joined = [{name: kpi.get(f"val_{name}") for name in bundle.metrics} for kpi in kept]
        assert any(figures == pytest.approx(bundle.metrics, abs=1e-4) for figures in joined)

    def test_sharded_weights_learn_what_whole_ones_do(
        self, by_two: Path, data: list[str], tmp_path: Path
    ) -> None:
        words = [*self.tiny, *data, "train.num_epochs=2", "train.strategy=fsdp"]
        assert train_in_processes(self.task, tmp_path, words) == [0, 0]
        bundles = [folder / "model.tltb" for folder in (by_two, tmp_path / "train")]
        one, other = (read_bundle(bundle) for bundle in bundles)
        # AdamW takes steps where a gradient is nothing but rounding.
        assert distance(*map(weights_of, bundles)) < 2e-3
        assert other.metrics == pytest.approx(one.metrics, abs=1e-3)

    def test_a_training_whose_process_was_killed_goes_on_to_the_same_weights(
        self, by_two: Path, data: list[str], tmp_path: Path
    ) -> None:
        words = [*self.tiny, *data, "train.num_epochs=2"]
        first, second = train_in_processes(self.task, tmp_path, words, killed=1)
        assert second == -signal.SIGKILL
        assert first not in (0, None)
        assert_failed(tmp_path / "train", "another process")
        assert not (tmp_path / "train" / "model.tltb").exists()
        checkpoint = tmp_path / "train" / "checkpoints" / "last.ckpt"
        resume = f"train.resume_training_checkpoint_path={checkpoint}"
        assert train_in_processes(self.task, tmp_path, [*words, resume]) == [0, 0]
        assert [line["epoch"] for line in status_lines(tmp_path / "train") if "epoch" in line] == [1, 2]
        assert_same_weights(tmp_path / "train" / "model.tltb", by_two / "model.tltb")
