"""Bad input and bad luck at every stage: one clear error, the right exit code, nothing half done."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import onnx
import pytest
import torch
from fault_table import (
    DATA_FAULTS,
    ENDINGS,
    FAULTS_IN_TURN,
    MODEL_FAULTS,
    ROWS,
    TOLERATED_BY,
    is_tried_with,
    model_words,
)
from stage_runs import graph_file, status_lines

from tao_like.bundle import read_bundle, write_bundle
from tao_like.cli.main import main
from tao_like.stages.results import ExportResult, TrainResult
from tao_like.stages.runner import STAGES
from tao_like.tasks import spec_module, task_names
from tao_like.tracking import Run, files, read_status

OLD = b"what an earlier run left"


class Outcome(NamedTuple):
    """What a command gave back: exit code, output and errors."""

    code: int
    output: str
    errors: str


class FaultTests:
    """Uses the fixtures of ``TaskStagesTest``; a task's class says how its data is spoilt."""

    task: ClassVar[str]
    tiny: ClassVar[tuple[str, ...]]
    fault_of: ClassVar[Mapping[str, str]] = {
        "test_a_full_disk": "full disk",
        "test_a_kill_in_the_midst_of_writing": "kill",
    }
    """The fault that a test without a parameter for it is about."""

    @classmethod
    def is_another_task_s_turn(cls, test: str, parameters: Mapping[str, Any]) -> bool:
        """Whether `make test` tries this cell of the table of faults with another task."""
        fault = parameters.get("fault") or parameters.get("ending") or cls.fault_of.get(test)
        return fault in FAULTS_IN_TURN and not is_tried_with(cls.task, parameters["stage"], fault)

    @classmethod
    def spoil_data(cls, folder: Path, fault: str) -> list[str]:
        """Writes train, val and test data with a fault of ``DATA_FAULTS`` in each; gives its overrides.

        A sample that cannot be read has the word ``corrupt`` in its name.
        """
        raise NotImplementedError

    # --- what a user gives ---

    def test_the_table_has_a_row_for_every_stage(self) -> None:
        assert list(ROWS) == list(STAGES)
        assert set(spec_module(self.task).STAGES) <= set(STAGES)

    def test_every_stage_and_every_task_meets_every_fault(self) -> None:
        for fault in FAULTS_IN_TURN:
            assert any(is_tried_with(self.task, stage, fault) for stage in ROWS), fault
            for stage in ROWS:
                assert any(is_tried_with(name, stage, fault) for name in task_names()), (stage, fault)

    @pytest.mark.parametrize("fault", DATA_FAULTS)
    @pytest.mark.parametrize("stage", ROWS)
    def test_bad_data(
        self,
        stage: str,
        fault: str,
        trained: TrainResult,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        words = [*self.spoil_data(tmp_path / "data", fault), *model_words(stage, trained.bundle)]
        old = leave_old_results(tmp_path, stage)
        outcome = self.command(capsys, stage, tmp_path, words)
        if fault in ROWS[stage].tolerates or self.task in TOLERATED_BY.get(fault, ()):
            assert outcome.code == 0, outcome.errors
            return
        assert_one_error(outcome, 2, "corrupt" if fault == "corrupt sample" else str(tmp_path / "data"))
        if fault in ROWS[stage].reports:
            assert old.read_bytes() != OLD
            assert status_lines(tmp_path / stage)[-1]["status"] == "FAILURE"
            return
        assert_failed_cleanly(tmp_path, stage, old, "")

    @pytest.mark.parametrize(
        ("stage", "fault"),
        [(stage, fault) for stage in ROWS for fault, (kind, _) in MODEL_FAULTS.items()
         if kind in ROWS[stage].takes],
    )  # fmt: skip
    def test_a_bad_model(
        self,
        stage: str,
        fault: str,
        bad_models: dict[str, Path],
        data: list[str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        old = leave_old_results(tmp_path, stage)
        words = [*data, *model_words(stage, bad_models[fault])]
        outcome = self.command(capsys, stage, tmp_path, words)
        assert_one_error(outcome, 2, MODEL_FAULTS[fault][1])
        assert_failed_cleanly(tmp_path, stage, old, MODEL_FAULTS[fault][1])

    @pytest.mark.parametrize("stage", ROWS)
    def test_a_bad_spec(self, stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "spec.yaml").write_text("train: [", encoding="utf-8")
        (tmp_path / "range.yaml").write_text("train: {num_epochs: 0}", encoding="utf-8")
        for name, told in (("spec.yaml", "spec.yaml:1"), ("range.yaml", "train.num_epochs: 0")):
            words = ["-e", str(tmp_path / name)]
            outcome = self.command(capsys, stage, tmp_path / "results", words, bare=True)
            assert_one_error(outcome, 2, told)
        assert not (tmp_path / "results").exists()

    # --- the disk ---

    @pytest.mark.parametrize("stage", ROWS)
    def test_a_full_disk(
        self,
        stage: str,
        trained: TrainResult,
        data: list[str],
        small_disk: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        old = leave_old_results(small_disk, stage)
        # Room for what every run writes at once: status.json, heartbeat, spec.yaml and log.txt.
        fill(small_disk / "filler", leave=44 * 1024)
        artefact = Run.artefact

        def fill_and_give(run: Run, name: str) -> Any:
            # Somebody else writes too, so that there is no room for small artefacts either.
            fill(small_disk / "more", leave=0)
            return artefact(run, name)

        monkeypatch.setattr(Run, "artefact", fill_and_give)
        outcome = self.command(capsys, stage, small_disk, [*data, *model_words(stage, trained.bundle)])
        assert_one_error(outcome, 1, "no space left on the disk")
        assert_failed_cleanly(small_disk, stage, old, "no space left")

    @pytest.mark.parametrize("stage", ROWS)
    def test_folders_that_cannot_be_written(
        self,
        stage: str,
        trained: TrainResult,
        data: list[str],
        small_disk: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        words = [*data, *model_words(stage, trained.bundle)]
        (tmp_path / "file").write_bytes(OLD)
        outcome = self.command(capsys, stage, tmp_path / "file", words)
        assert_one_error(outcome, 2, "results_dir")
        assert (tmp_path / "file").read_bytes() == OLD
        # The test may be run by root, who may write wherever the disk lets anybody.
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        outcome = self.command(capsys, stage, small_disk / "results", words)
        assert_one_error(outcome, 2, "read-only")
        assert not list(small_disk.iterdir())

    # --- the end of a process ---

    @pytest.mark.parametrize("ending", ENDINGS)
    @pytest.mark.parametrize("stage", ROWS)
    def test_an_end_in_the_midst_of_writing(
        self,
        stage: str,
        ending: str,
        trained: TrainResult,
        data: list[str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        event, code, told = ENDINGS[ending]
        old = leave_old_results(tmp_path, stage)
        happen_while_writing(monkeypatch, event)
        outcome = self.command(capsys, stage, tmp_path, [*data, *model_words(stage, trained.bundle)])
        assert_one_error(outcome, code, "terminated" if ending == "SIGTERM" else told)
        assert_failed_cleanly(tmp_path, stage, old, told)

    @pytest.mark.parametrize("stage", ROWS)
    def test_a_kill_in_the_midst_of_writing(
        self,
        stage: str,
        trained: TrainResult,
        data: list[str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The child is a fork: a process that starts anew would take seconds to import torch."""
        self.skip_stages_of_others(stage)
        old = leave_old_results(tmp_path, stage)
        words = [*data, *model_words(stage, trained.bundle)]
        gc.collect()
        child = os.fork()
        if child == 0:
            # What threads a fork has lost is known to nobody, so it must not use any, nor wait for them when
            # it collects what is left of its parent.
            gc.freeze()
            torch.set_num_threads(1)
            happen_while_writing(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGKILL))
            try:
                self.command(capsys, stage, tmp_path, words)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the stage ended before it was killed"
        assert status_lines(tmp_path / stage)[-1]["status"] in ("STARTED", "RUNNING")
        (found,) = [status for status in read_status(tmp_path) if status.folder == tmp_path / stage]
        assert (found.status, found.alive) == ("FAILURE", False)
        assert_failed_cleanly(tmp_path, stage, old, "the process is gone", swept=False)

    # --- helpers ---

    def skip_stages_of_others(self, stage: str) -> None:
        """Some stages are of some tasks alone."""
        if stage not in spec_module(self.task).STAGES:
            pytest.skip(f"{self.task} has no stage {stage}")

    def command(
        self,
        capsys: pytest.CaptureFixture[str],
        stage: str,
        results: Path,
        words: Sequence[str],
        *,
        bare: bool = False,
    ) -> Outcome:
        """Runs a stage by the command line, in this process; ``bare`` without the tiny settings."""
        self.skip_stages_of_others(stage)
        settings = () if bare else (*self.tiny, *ROWS[stage].quick)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([self.task, stage, *settings, f"results_dir={results}", *words])
        return Outcome(int(end.value.code or 0), *capsys.readouterr())

    @pytest.fixture
    @classmethod
    def small_disk(cls, tmp_path: Path) -> Iterator[Path]:
        """A disk of 512 kB."""
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small disk cannot be mounted here")
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)

    @pytest.fixture(scope="class")
    @classmethod
    def bad_models(
        cls, trained: TrainResult, exported: ExportResult, tmp_path_factory: pytest.TempPathFactory
    ) -> dict[str, Path]:
        """A file for each of ``MODEL_FAULTS``."""
        folder = tmp_path_factory.mktemp("bad")
        paths = {name: folder / f"{name}{suffix}" for name, (suffix, _) in MODEL_FAULTS.items()}
        graph = graph_file(exported.onnx_file)
        for name, source in (("half a bundle", trained.bundle), ("half an ONNX file", graph)):
            content = source.read_bytes()
            paths[name].write_bytes(content[: len(content) // 2])
        paths["no bundle"].write_bytes(b"hello" * 1000)
        bundle = read_bundle(trained.bundle)
        write_bundle(paths["a bundle of another task"], dataclasses.replace(bundle, task="juggling"))
        with zipfile.ZipFile(trained.bundle) as old, zipfile.ZipFile(paths["a newer bundle"], "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "bundle.json":
                    content = json.dumps({**json.loads(content), "format_version": 99}).encode()
                new.writestr(name, content)
        ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
        node = onnx.helper.make_node("Identity", ["x"], ["y"])
        graph = onnx.helper.make_graph([node], "others", ends[:1], ends[1:])
        onnx.save(onnx.helper.make_model(graph), paths["an ONNX file of others"])
        onnx.save(
            failing(onnx.load(graph_file(exported.onnx_file))), paths["an ONNX file that cannot be run"]
        )
        return paths


def failing(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with an end that opens, and fails on every input: values in rows of a prime number."""
    wanted = model.graph.output[0].name
    for node in model.graph.node:
        names = [f"{name} before" if name == wanted else name for name in node.output]
        node.output[:] = names
        node.input[:] = [f"{name} before" if name == wanted else name for name in node.input]
    shape = onnx.helper.make_tensor("a prime number", onnx.TensorProto.INT64, [2], [100_003, -1])
    model.graph.initializer.append(shape)
    model.graph.node.append(
        onnx.helper.make_node("Reshape", [f"{wanted} before", "a prime number"], ["rows of it"])
    )
    back = onnx.helper.make_node("Reshape", ["rows of it", "the shape before"], [wanted])
    model.graph.node.append(onnx.helper.make_node("Shape", [f"{wanted} before"], ["the shape before"]))
    model.graph.node.append(back)
    return model


def leave_old_results(results: Path, stage: str) -> Path:
    """Puts an old artefact into a stage's folder."""
    path = results / stage / ROWS[stage].artefact
    path.parent.mkdir(parents=True)
    path.write_bytes(OLD)
    return path


def fill(path: Path, *, leave: int) -> None:
    """Writes a file that leaves so many bytes of its disk free."""
    disk = os.statvfs(path.parent)
    path.write_bytes(b" " * max(0, disk.f_bavail * disk.f_bsize - leave))


def happen_while_writing(patch: pytest.MonkeyPatch, event: Callable[[], Any]) -> None:
    """Lets something happen when the first artefact is written, but does not have its name yet."""
    flush = files._flush_to_disk

    def flush_and_happen(path: Path) -> None:
        if not path.name.startswith(".spec."):
            event()
        flush(path)

    patch.setattr(files, "_flush_to_disk", flush_and_happen)


def assert_one_error(outcome: Outcome, code: int, words: str) -> None:
    """The command said in one error what is wrong, and gave the right exit code."""
    assert outcome.code == code, outcome
    assert words in outcome.errors
    assert outcome.errors.count("error: ") == 1
    assert "Traceback" not in outcome.output + outcome.errors


def assert_failed_cleanly(results: Path, stage: str, old: Path, words: str, *, swept: bool = True) -> None:
    """status.json tells of the failure; the old artefact is as it was, and there is no new one.

    Args:
        swept: nothing half-written is left. A killed process cannot see to that; the next run does.
    """
    last = status_lines(results / stage)[-1]
    assert (last["status"], words in last["message"]) == ("FAILURE", True), last
    # An earlier training moves aside before a new one begins.
    moved = results / "train-001" / old.name
    assert [path.read_bytes() for path in (old, moved) if path.exists()] == [OLD]
    if swept:
        assert not [path for path in (results / stage).rglob("*") if "partial" in path.name]
