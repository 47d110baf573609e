"""Exit codes, messages and status.json agree, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from command_line import CommandLine
from onnx_graphs import graph, node, weights
from sample_images import write_class_folders
from stage_runs import assert_failed, status_lines
from tiny_classification import TINY, data_overrides

import tao_like as package
from tao_like.errors import SpecError
from tao_like.stages.results import DatasetCheckResult
from tao_like.tasks.classification.data.data import ClassificationData

ODD_NAME = "Zürich (1), [a] b = c'd"


def check(folder: Path, results: object, *more: str) -> list[str]:
    """The words of a dataset_check, the quickest stage."""
    return [
        "classification",
        "dataset_check",
        *TINY,
        *data_overrides(folder),
        f"results_dir={results}",
        *more,
    ]


def test_0_for_a_stage_that_is_done(tao_like: CommandLine, class_folders: Path, tmp_path: Path) -> None:
    assert tao_like(*check(class_folders, tmp_path)) == 0
    assert status_lines(tmp_path / "dataset_check")[-1]["status"] == "SUCCESS"
    assert "Report and images" in tao_like.output


def test_1_for_an_error_that_nobody_foresaw_and_debug_shows_where(
    tao_like: CommandLine, class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("something odd")

    monkeypatch.setattr(ClassificationData, "check", fail)
    assert tao_like(*check(class_folders, tmp_path)) == 1
    assert "something odd" in tao_like.errors
    assert "--debug" in tao_like.errors
    assert "Traceback" not in tao_like.errors
    assert_failed(tmp_path / "dataset_check", "something odd")
    words = check(class_folders, tmp_path)
    for place in (0, 1, 2, len(words)):
        assert tao_like(*words[:place], "--debug", *words[place:]) == 1
        assert "Traceback" in tao_like.errors


def test_1_for_memory_that_ran_out(
    tao_like: CommandLine, class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ClassificationData, "check", fail)
    assert tao_like(*check(class_folders, tmp_path)) == 1
    assert "out of memory" in tao_like.errors
    assert_failed(tmp_path / "dataset_check", "out of memory")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {num_epochs: 0}", ["spec.yaml:1", "train.num_epochs", "0"]),
        ("train: {num_epoch: 3}\nmodle: {}", ["spec.yaml:1", "num_epochs", "spec.yaml:2", "model"]),
        ("train: [", ["spec.yaml"]),
        ("dataset: {img_size: big}", ["dataset.img_size", "big"]),
        ("model: {backbone: {type: resnet51}}", ["model.backbone.type", "resnet51", "resnet50"]),
        ("train: {optim: {head_epochs: 10}}", ["head_epochs", "num_epochs"]),
        ("just words", ["spec.yaml"]),
    ],
)
def test_2_for_a_spec_that_is_wrong(
    text: str, words: list[str], tao_like: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    code = tao_like(
        "classification", "train", "-e", str(tmp_path / "spec.yaml"), f"results_dir={tmp_path}/out"
    )
    assert code == 2
    for word in words:
        assert word in tao_like.errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["-e", "nowhere.yaml"], ["train.num_epochs"], ["train.num_epochs=many"], ["train.nonsense=1"],
        ["+train.num_epochs=2"], ["~train"], ["train.num_epochs=1,2"], ["--nonsense"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_2_for_a_command_line_that_is_wrong(words: list[str], tao_like: CommandLine, tmp_path: Path) -> None:
    assert tao_like("classification", "train", *words, f"results_dir={tmp_path}/out") == 2
    assert words[-1].partition("=")[0].strip("+~-") in tao_like.errors
    assert not (tmp_path / "out").exists()


def test_2_for_data_that_is_not_there(tao_like: CommandLine, tmp_path: Path) -> None:
    assert tao_like(*check(tmp_path / "nowhere", tmp_path)) == 2
    assert "nowhere" in tao_like.errors
    assert_failed(tmp_path / "dataset_check", "nowhere")


def test_2_for_a_folder_of_results_that_cannot_be_one(
    tao_like: CommandLine, class_folders: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert tao_like(*check(class_folders, tmp_path / "file")) == 2
    assert "results_dir" in tao_like.errors


@pytest.mark.parametrize("name", [ODD_NAME, "plain", "a,b", "[1]", "{a: b}"])
def test_paths_are_taken_as_they_are(name: str, tao_like: CommandLine, tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / name / "data", {"train": 2, "val": 1, "test": 1})
    results = tmp_path / name / "results"
    assert tao_like(*check(folder, results)) == 0
    assert (results / "dataset_check" / "report.json").is_file()
    spec = {
        "results_dir": str(tmp_path / name / "again"),
        "dataset": {"train_dataset": {"images_dir": str(folder / "train")}},
    }
    (tmp_path / name / "my spec.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    assert tao_like("classification", "dataset_check", "-e", str(tmp_path / name / "my spec.yaml")) == 0
    assert (tmp_path / name / "again" / "dataset_check" / "report.json").is_file()


def test_a_tilde_is_the_home_folder(
    tao_like: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_class_folders(tmp_path / "data", {"train": 2, "val": 1, "test": 1})
    assert tao_like(*check(Path("~/data"), "~/results")) == 0
    assert (tmp_path / "results" / "dataset_check" / "report.json").is_file()


def test_python_gets_a_typed_result_and_typed_errors(class_folders: Path, tmp_path: Path) -> None:
    overrides = [*TINY, *data_overrides(class_folders)]
    (tmp_path / "spec.yaml").write_text(f"results_dir: {tmp_path / 'out'}\n", encoding="utf-8")
    result = package.run("classification", "dataset_check", tmp_path / "spec.yaml", overrides, quiet=True)
    assert isinstance(result, DatasetCheckResult)
    assert result.folder == tmp_path / "out" / "dataset_check"
    with pytest.raises(SpecError, match="juggling"):
        package.run("juggling", "train")
    with pytest.raises(SpecError, match="dance"):
        package.run("classification", "dance")


def test_quiet_prints_nothing_and_logs_all(
    class_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*TINY, *data_overrides(class_folders), f"results_dir={tmp_path}"]
    package.run("classification", "dataset_check", overrides=overrides, quiet=True)
    assert capsys.readouterr() == ("", "")
    assert "Report and images" in (tmp_path / "dataset_check" / "log.txt").read_text("utf-8")


# --- signals ---


def wait_for_epoch(folder: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a training has finished its second epoch, so that there is a checkpoint of the first."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if (folder / "status.json").is_file():
            text = (folder / "status.json").read_text("utf-8")
            if "epoch 2 done" in text:
                return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("the training has not begun within two minutes")


@pytest.mark.acceptance  # as test_resume.py, but whenever Ctrl-C happens to come
def test_ctrl_c_ends_a_training_as_a_failure_that_can_be_resumed(
    class_folders: Path, tmp_path: Path, tao_like: CommandLine
) -> None:
    """Ctrl-C goes to all processes of the terminal, so also to those that load images."""
    words = [*TINY, *data_overrides(class_folders), f"results_dir={tmp_path}", "train.num_epochs=100000"]
    command = [sys.executable, "-m", "tao_like.cli", "classification", "train", *words, "dataset.workers=1"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for_epoch(tmp_path / "train", process)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert_failed(tmp_path / "train", "interrupted")
    assert not (tmp_path / "train" / "model.tltb").exists()
    assert (tmp_path / "train" / "checkpoints" / "last.ckpt").is_file()
    assert tao_like("status", str(tmp_path)) == 0
    assert "FAILURE" in tao_like.output


def test_143_for_a_training_that_is_told_to_end(
    tao_like: CommandLine, class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tao_like.stages.train.loop import PhaseTraining

    train_epoch = PhaseTraining.train_epoch

    def signal_and_train(training: PhaseTraining) -> None:
        signal.raise_signal(signal.SIGTERM)
        train_epoch(training)

    monkeypatch.setattr(PhaseTraining, "train_epoch", signal_and_train)
    words = [*TINY, *data_overrides(class_folders), f"results_dir={tmp_path}"]
    assert tao_like("classification", "train", *words) == 143
    assert_failed(tmp_path / "train", "SIGTERM")
    assert not (tmp_path / "train" / "model.tltb").exists()


def test_status_calls_a_killed_run_a_failure(tao_like: CommandLine, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from tao_like.tracking import Run\n"
        "with Run(Path(sys.argv[1]), task='classification', stage='train', spec_yaml=''):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "train")], check=False)
    assert status_lines(tmp_path / "train")[-1]["status"] == "STARTED"
    assert tao_like("status", str(tmp_path)) == 0
    assert "FAILURE" in tao_like.output
    assert_failed(tmp_path / "train", "the process is gone")


def test_0_and_silence_where_the_reader_of_a_pipe_has_gone() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tao_like.cli", "specs", "list"]
    with os.fdopen(write, "w") as gone:
        done = subprocess.run(
            command, stdout=gone, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_2_for_a_foreign_file_that_cannot_be_used(
    command: str, tao_like: CommandLine, tmp_path: Path
) -> None:
    model = graph([node("MatMul", "x w", "y")], {"x": ["n", 3]}, ["y"], {"w": weights(3, 2)})
    whole = model.SerializeToString()
    for name, content in (("half", whole[: len(whole) // 2]), ("text", b"hello\n" * 50), ("empty", b"")):
        (tmp_path / f"{name}.onnx").write_bytes(content)
    (tmp_path / "folder.onnx").mkdir()
    for name in ("half", "text", "empty", "folder", "nowhere"):
        output = ["-o", str(tmp_path / "out.tltb")] if command == "convert" else []
        code = tao_like("byom", command, "-m", str(tmp_path / f"{name}.onnx"), *output)
        assert (name, code) == (name, 2), tao_like.errors
        assert f"{name}.onnx" in tao_like.errors
        assert "Traceback" not in tao_like.errors
    assert not (tmp_path / "out.tltb").exists()
