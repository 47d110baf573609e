"""Stages that a program calls: a spec as a mapping, listening to a run, and a process left as it was."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stage_runs import assert_failed, break_in_second_epoch, status_lines
from tiny_classification import TINY, data_overrides

import tao_like
from tao_like.errors import BundleError, DatasetError, SpecError, TaoLikeError
from tao_like.tracking import Events

LOGGERS = ("", "lightning_fabric", "torch.onnx", "onnxruntime", "PIL", "matplotlib", "tao_like")


def process_state() -> dict[str, Any]:
    """What a program would notice if a stage changed it; worked out apart from what puts it back."""
    return {
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "levels": {name: logging.getLogger(name).level for name in LOGGERS},
        "disabled": logging.root.manager.disable,
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "hooks": (sys.excepthook, threading.excepthook),
        "random": random.getstate(),
        "numpy": str(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "output": (sys.stdout, sys.stderr),
    }


def assert_kept(before: Mapping[str, Any]) -> None:
    after = process_state()
    assert [name for name, value in before.items() if after[name] != value] == []


def run(stage: str, results: Path, *overrides: str, **options: Any) -> Any:
    return tao_like.run(
        "classification", stage, None, [*TINY, f"results_dir={results}", *overrides], quiet=True, **options
    )


@pytest.fixture(scope="module")
def trained(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a training and an export."""
    results = tmp_path_factory.mktemp("results")
    words = (*data_overrides(class_folders), "train.num_epochs=1")
    run("train", results, *words)
    run("export", results, *words)
    return results


# --- the process ---

WORK = {
    "dataset_check": [],
    "train": ["train.num_epochs=1", "dataset.workers=1", "train.tensorboard.enabled=true"],
    "evaluate": [],
    "inference": ["inference.source={data}/test"],
    "export": [],
    "prune": ["prune.granularity=2", "prune.target_macs=0.7"],
    "quantize": ["quantize.max_drop=1"],
    "compare": ["compare.checkpoints=[{results}/train/model.tltb]", "compare.rounds=2"],
}


@pytest.mark.parametrize("stage", WORK)
def test_a_stage_leaves_the_process_as_it_was(
    stage: str, trained: Path, class_folders: Path, tmp_path: Path
) -> None:
    words = [word.format(data=class_folders, results=trained) for word in WORK[stage]]
    if stage in ("evaluate", "inference", "export", "prune"):
        words.append(f"{stage}.checkpoint={trained}/train/model.tltb")
    if stage == "quantize":
        words.append(f"quantize.checkpoint={trained}/export/model.onnx")
    before = process_state()
    run(stage, tmp_path, *data_overrides(class_folders), *words)
    assert_kept(before)


def test_a_stage_that_fails_leaves_the_process_as_it_was(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = process_state()
    with pytest.raises(SpecError):
        run("train", tmp_path, "train.num_epochs=0")
    with pytest.raises(DatasetError):
        run("train", tmp_path, *data_overrides(tmp_path / "nowhere"))
    assert_kept(before)
    break_in_second_epoch(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run("train", tmp_path, *data_overrides(class_folders), "train.num_epochs=2")
    assert_kept(before)


def test_everything_that_a_stage_might_change_is_put_back(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage of the worst manners."""
    from tao_like.stages import dataset_check

    def change(*_: object) -> None:
        os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
        os.environ["A_NEW_VARIABLE"] = "1"
        del os.environ["NO_COLOR"]
        os.chdir(tmp_path)
        warnings.simplefilter("ignore")
        logging.getLogger("lightning_fabric").setLevel(logging.CRITICAL)
        logging.disable(logging.ERROR)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.excepthook = print
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = True
        raise TaoLikeError("enough")

    monkeypatch.setattr(dataset_check, "run", change)
    before = process_state()
    with pytest.raises(TaoLikeError, match="enough"):
        run("dataset_check", tmp_path, *data_overrides(class_folders))
    assert_kept(before)


FRESH = """\
import logging, os, sys, tao_like
before = dict(os.environ)
tao_like.run("classification", "train", None, sys.argv[1:], quiet=True)
import torch
assert dict(os.environ) == before
assert "OMP_WAIT_POLICY" not in before
assert logging.getLogger("lightning_fabric").level == logging.INFO
assert not torch.backends.cudnn.deterministic
assert torch.initial_seed() != 1234, "the seed of the training must not be that of the caller's own draws"
"""


def test_a_program_that_had_not_imported_torch_gets_a_seed_of_its_own(
    class_folders: Path, tmp_path: Path
) -> None:
    words = [*TINY, *data_overrides(class_folders), f"results_dir={tmp_path}", "train.num_epochs=1"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment["PYTHONPATH"] = str(Path(tao_like.__file__).parents[1])
    subprocess.run([sys.executable, "-c", FRESH, *words, "train.seed=1234"], env=environment, check=True)


def test_a_stage_in_a_thread(class_folders: Path, tmp_path: Path) -> None:
    results: list[Any] = []
    thread = threading.Thread(
        target=lambda: results.append(run("dataset_check", tmp_path, *data_overrides(class_folders)))
    )
    thread.start()
    thread.join()
    assert results[0].errors == 0


# --- a spec as a mapping ---


def nested(overrides: list[str]) -> dict[str, Any]:
    """What the tiny settings say, as a mapping; plain values only."""
    from tao_like.config import load_spec, to_dict
    from tao_like.tasks import spec_module

    loaded = load_spec(spec_module("classification").Spec, None, overrides)
    plain = to_dict(loaded.spec)
    spec: dict[str, Any] = {}
    for key in loaded.given:
        here, value = spec, plain
        *blocks, last = key.split(".")
        for name in blocks:
            here, value = here.setdefault(name, {}), value[name]
        here[last] = value[last]
    return spec


def test_a_mapping_gives_what_its_overrides_give(class_folders: Path, tmp_path: Path) -> None:
    words = [*TINY, *data_overrides(class_folders)]
    spec = {**nested(words), "results_dir": tmp_path / "one"}
    one = tao_like.run("classification", "dataset_check", spec, quiet=True)
    two = run("dataset_check", tmp_path / "two", *data_overrides(class_folders))
    assert one.report == two.report
    written = [(result.folder / "spec.yaml").read_text("utf-8") for result in (one, two)]
    assert written[0].replace(f"{tmp_path}/one", f"{tmp_path}/two") == written[1]


def test_what_is_wrong_in_a_mapping_comes_as_problems(tmp_path: Path) -> None:
    spec = {"train": {"num_epochs": 0, "sede": 1}, "results_dir": str(tmp_path / "out")}
    with pytest.raises(SpecError) as caught:
        tao_like.run("classification", "train", spec, ["dataset.img_size=big"])
    keys = [(problem.file, problem.key) for problem in caught.value.problems]
    assert keys == [
        ("spec", "train.sede"),
        ("spec", "train.num_epochs"),
        ("command line", "dataset.img_size"),
    ]
    assert not (tmp_path / "out").exists()


def test_a_mapping_of_another_task_is_told() -> None:
    spec = {"model": {"voxel_size": 1}, "dataset": {"data_path": "x", "point_cloud_range": [0, 1]}}
    with pytest.raises(SpecError) as caught:
        tao_like.run("classification", "train", spec)
    assert {problem.file for problem in caught.value.problems} == {"spec"}


# --- events ---


class Recorder(Events):
    """Keeps all that it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def log(self, level: str, text: str) -> None:
        self.heard.append(("log", (level, text)))

    def progress(self, description: str, done: int, total: int, values: Mapping[str, Any]) -> None:
        self.heard.append(("progress", (description, done, total)))

    def metric(
        self, values: Mapping[str, float], *, step: int | None = None, epoch: int | None = None
    ) -> None:
        self.heard.append(("metric", (dict(values), step, epoch)))

    def figure(self, name: str, path: Path) -> None:
        assert path.is_file()
        self.heard.append(("figure", name))

    def status(self, status: str, message: str, fields: Mapping[str, Any]) -> None:
        self.heard.append(("status", (status, message)))

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.heard if name == kind]


def test_a_program_hears_a_training(class_folders: Path, tmp_path: Path) -> None:
    heard = Recorder()
    result = run("train", tmp_path, *data_overrides(class_folders), "train.num_epochs=2", events=heard)
    lines = [(line["status"], line["message"]) for line in status_lines(result.folder)]
    assert heard.of("status") == lines
    log = (result.folder / "log.txt").read_text("utf-8")
    assert heard.of("log")
    for level, text in heard.of("log"):
        assert f" {level.upper()} {text}\n" in log
    assert [epoch for _, _, epoch in heard.of("metric") if epoch] == [1, 2]
    steps = [
        (set(values), step) for values, step, epoch in heard.of("metric") if step is not None and not epoch
    ]
    assert steps == [({"train/loss", "learning_rate/new", "learning_rate/backbone"}, 0)]  # one of ten
    assert heard.of("metric")[-1][0] == result.metrics
    ends = [(done, total) for description, done, total in heard.of("progress") if "epoch 2" in description]
    assert ends[-1][0] == ends[-1][1] > 0


def test_a_program_hears_figures(class_folders: Path, tmp_path: Path) -> None:
    heard = Recorder()
    result = run("dataset_check", tmp_path, *data_overrides(class_folders), events=heard)
    assert heard.of("figure") == result.report["pictures"] != []


def test_a_program_hears_why_a_run_failed(tmp_path: Path) -> None:
    heard = Recorder()
    with pytest.raises(DatasetError):
        run("train", tmp_path, *data_overrides(tmp_path / "nowhere"), events=heard)
    (begun, ended) = heard.of("status")
    assert (begun[0], ended[0]) == ("STARTED", "FAILURE")
    assert "nowhere" in ended[1]
    assert heard.of("log")[-1] == ("error", ended[1])


@pytest.mark.parametrize("kind", ["log", "progress", "metric", "status"])
def test_a_program_can_end_a_run_by_raising(
    kind: str, class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Recorder, *_: Any, **__: Any) -> None:
        raise TaoLikeError("cancelled by the program")

    monkeypatch.setattr(Recorder, kind, stop)
    with pytest.raises(TaoLikeError, match="cancelled by the program"):
        run("train", tmp_path, *data_overrides(class_folders), events=Recorder())
    assert_failed(tmp_path / "train", "cancelled by the program")
    assert not (tmp_path / "train" / "model.tltb").exists()


# --- exit codes ---


def test_data_with_errors_fails_the_check_and_leaves_its_report(class_folders: Path, tmp_path: Path) -> None:
    import shutil

    data = shutil.copytree(class_folders, tmp_path / "data")
    bad = next((data / "train").rglob("*.png"))
    bad.write_bytes(bad.read_bytes()[:50])
    with pytest.raises(DatasetError, match="train will refuse this data") as caught:
        run("dataset_check", tmp_path, *data_overrides(data))
    assert caught.value.exit_code == 2
    (problem,) = caught.value.problems
    assert bad.name in problem.text
    folder = tmp_path / "dataset_check"
    assert_failed(folder, bad.name)
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["errors"] == 1
    assert all((folder / name).is_file() for name in report["pictures"])


def bad_onnx_files(good: Path, folder: Path) -> dict[str, Path]:
    """Files that are wrong in ways that onnxruntime and the runtime tell apart."""
    import onnx

    from tao_like.runtime.metadata import METADATA_KEY

    content = good.read_bytes()
    paths = {}
    for name, data in (
        ("half", content[: len(content) // 2]),
        ("noise", random.Random(0).randbytes(5000)),
        ("empty", b""),
        ("text", b"this is text\n" * 50),
    ):
        paths[name] = folder / f"{name}.onnx"
        paths[name].write_bytes(data)

    def edited(name: str, change: Any) -> None:
        model = onnx.load(good)
        change(model)
        paths[name] = folder / f"{name}.onnx"
        paths[name].write_bytes(model.SerializeToString())

    def shorten(model: Any) -> None:
        (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
        metadata = json.loads(entry.value)
        metadata["classes"] = metadata["classes"][:-1]
        entry.value = json.dumps(metadata)

    def spoil_node(model: Any) -> None:
        model.graph.node[0].op_type = "NoSuchOperation"

    def spoil_weight(model: Any) -> None:
        model.graph.initializer[0].raw_data = b"\0"

    edited("short class list", shorten)
    edited("unknown operation", spoil_node)
    edited("broken weight", spoil_weight)
    # The name of the producer is no UTF-8 any more; its length is the same.
    model = onnx.load(good)
    model.metadata_props[0].value = "PRODUCER" + model.metadata_props[0].value
    paths["no UTF-8"] = folder / "no UTF-8.onnx"
    paths["no UTF-8"].write_bytes(model.SerializeToString().replace(b"PRODUCER", b"\xff\xfe\xfd\xfcABCD"))
    return paths


@pytest.mark.parametrize("stage", ["evaluate", "inference", "quantize", "compare"])
def test_2_for_an_onnx_file_that_cannot_be_used(
    stage: str, trained: Path, class_folders: Path, tmp_path: Path
) -> None:
    data = data_overrides(class_folders)
    for name, path in bad_onnx_files(trained / "export" / "model.onnx", tmp_path).items():
        key = f"compare.checkpoints=['{path}']" if stage == "compare" else f"{stage}.checkpoint={path}"
        with pytest.raises((BundleError, SpecError), match=rf"{name}\.onnx") as caught:
            run(stage, tmp_path / "results", *data, key)
        assert caught.value.exit_code == 2
        assert_failed(tmp_path / "results" / stage, f"{name}.onnx")
