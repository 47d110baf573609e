"""Each command does what its help says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from command_line import CommandLine
from tiny_classification import TINY, data_overrides

from tao_like import __version__
from tao_like.cli.main import main
from tao_like.cli.tools import TOOLS
from tao_like.config import load_spec, to_dict
from tao_like.tasks import spec_module, task_names

TASK_COMMANDS = [
    (task, command)
    for task in task_names()
    for command in (*spec_module(task).STAGES, "dry_run", "default_specs", "schema")
]


@pytest.mark.parametrize(
    "words", [(), *((name,) for name in TOOLS), *((task,) for task in task_names()), *TASK_COMMANDS]
)
def test_every_command_has_help_with_a_sentence(words: tuple[str, ...], tao_like: CommandLine) -> None:
    assert tao_like(*words, "--help") == 0
    assert tao_like.output.startswith("Usage: tao-like")
    # An example may be longer, since it is there to be copied.
    lines = [line for line in tao_like.output.splitlines() if not line.strip().startswith("tao-like")]
    assert max(map(len, lines)) <= 110
    long_help = tao_like.output
    assert tao_like(*words, "-h") == 0
    assert tao_like.output == long_help


def test_the_stages_help_has_examples_that_name_the_command(tao_like: CommandLine) -> None:
    for task in task_names():
        for stage in spec_module(task).STAGES:
            tao_like(task, stage, "--help")
            assert f"tao-like {task} {stage} -e" in tao_like.output


def test_help_lists_every_command_with_what_it_does(tao_like: CommandLine) -> None:
    tao_like("--help")
    listed = {
        line.split()[0]: line.split()[1:]
        for line in tao_like.output.splitlines()
        if line[:2] == "  " and line.split()
    }
    for name in (*TOOLS, *task_names()):
        assert len(listed[name]) > 2, name


def test_the_version_is_told(tao_like: CommandLine) -> None:
    assert tao_like("--version") == 0
    assert __version__ in tao_like.output


@pytest.mark.parametrize(
    ("words", "near"),
    [(["trian"], ""), (["clasification", "train"], "classification"), (["classification", "trian"], "train"),
     (["quick"], ""), (["backbone"], "backbones"), (["train"], "tao-like classification train"),
     (["init", "photos"], "tao-like classification init"),
     (["classification_pyt", "train"], "tao-like classification train"),
     (["model", "yolo_v4", "prune"], "tao-like detection prune model.arch=yolo_v4")],
)  # fmt: skip
def test_a_mistyped_command_is_answered_with_the_nearest(
    words: list[str], near: str, tao_like: CommandLine
) -> None:
    assert tao_like(*words) == 2
    assert words[-1] in tao_like.errors or words[0] in tao_like.errors
    assert near in tao_like.errors


def test_a_key_that_is_given_with_dashes_is_answered_with_how_it_is_given(tao_like: CommandLine) -> None:
    assert tao_like("classification", "train", "--num_epochs", "20") == 2
    assert "--num_epochs" in tao_like.errors
    assert "train.num_epochs=20" in tao_like.errors
    assert tao_like("classification", "train", "-e", "spec.yaml", "-k", "KEY") == 2
    assert "nothing is encrypted" in tao_like.errors
    assert tao_like("tasks", "--num_epochs") == 2
    assert "train.num_epochs=20" not in tao_like.errors


def test_a_spec_of_another_task_is_told_from_a_wrong_one(tao_like: CommandLine, tmp_path: Path) -> None:
    spec, wrong = tmp_path / "photos.yaml", tmp_path / "wrong.yaml"
    spec.write_text("model:\n  head:\n    topk: [1]\n", "utf-8")
    wrong.write_text("model:\n  hed:\n    topk: [1]\n", "utf-8")
    assert tao_like("detection", "train", "-e", str(spec)) == 2
    assert f"tao-like classification train -e {spec}" in tao_like.errors
    assert "model.head: unknown key" in tao_like.errors
    assert tao_like("classification", "train", "-e", str(spec), "train.num_epoch=3") == 2
    assert "did you mean train.num_epochs" in tao_like.errors
    assert tao_like("detection", "train", "-e", str(wrong)) == 2
    assert "model.hed: unknown key" in tao_like.errors


def test_tasks_lists_stages_and_architectures(tao_like: CommandLine) -> None:
    assert tao_like("tasks") == 0
    for stage in spec_module("classification").STAGES:
        assert stage in tao_like.output
    assert "timm" in tao_like.output


def test_default_specs_loads_back_as_the_defaults(tao_like: CommandLine, tmp_path: Path) -> None:
    assert tao_like("classification", "default_specs") == 0
    (tmp_path / "all.yaml").write_text(tao_like.output, encoding="utf-8")
    spec = spec_module("classification").Spec
    assert to_dict(load_spec(spec, tmp_path / "all.yaml").spec) == to_dict(spec())


def test_the_schema_is_one_and_takes_what_the_spec_takes(tao_like: CommandLine) -> None:
    tao_like("classification", "default_specs")
    defaults = yaml.safe_load(tao_like.output)
    assert tao_like("classification", "schema") == 0
    schema = json.loads(tao_like.output)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(defaults, schema)
    for wrong in ({"train": {"num_epoch": 3}}, {"train": {"num_epochs": 0}}, {"dataset": {"resize": "zoom"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_backbones_takes_a_pattern_or_a_part_of_the_name(tao_like: CommandLine) -> None:
    for pattern in ("resnet1?", "resnet18"):
        assert tao_like("backbones", pattern) == 0
        assert "resnet18" in tao_like.output
        assert "11.7 M" in tao_like.output
        assert "vit_" not in tao_like.output
    assert tao_like("backbones", "--offline") == 0
    assert "package:efficientnet_lite0" in tao_like.output
    assert tao_like("backbones", "no_such_thing") == 2
    assert "no_such_thing" in tao_like.errors


def test_samples_lists_what_there_is_and_writes_it(tao_like: CommandLine, tmp_path: Path) -> None:
    assert tao_like("samples") == 0
    assert "digits" in tao_like.output
    assert "--layout nvidia|openpose|" in tao_like.output
    assert tao_like("samples", "digits", str(tmp_path / "digits")) == 0
    folders = sorted(path.name for path in (tmp_path / "digits" / "test").iterdir())
    assert folders == [str(digit) for digit in range(10)]
    assert len(list((tmp_path / "digits").rglob("*.png"))) == 1797
    assert tao_like("samples", "digits") == 2
    assert tao_like("samples", "fidgets", str(tmp_path / "other")) == 2
    assert "digits" in tao_like.errors
    assert tao_like("samples", "skeleton_actions", str(tmp_path / "other"), "--layout", "kinect") == 2
    assert "kinect_v1" in tao_like.errors


def test_status_says_how_each_stage_ended(tao_like: CommandLine, class_folders: Path, tmp_path: Path) -> None:
    results = f"results_dir={tmp_path}"
    assert tao_like("status", str(tmp_path)) == 0
    assert "No stage" in tao_like.output
    assert tao_like("classification", "dataset_check", *data_overrides(class_folders), *TINY, results) == 0
    assert tao_like("classification", "evaluate", *data_overrides(class_folders), *TINY, results) == 2
    assert tao_like("status", str(tmp_path)) == 0
    first, second = (line.split() for line in tao_like.output.splitlines())
    assert first[:2] == ["dataset_check", "SUCCESS"]
    assert second[:2] == ["evaluate", "FAILURE"]
    assert "train first" in " ".join(second)
    assert tao_like("status", str(tmp_path / "nowhere")) == 2


def test_doctor_tells_versions_and_devices(tao_like: CommandLine) -> None:
    assert tao_like("doctor") == 0
    for word in (__version__, "torch", "onnxruntime", "python", "disk"):
        assert word in tao_like.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str, tao_like: CommandLine) -> None:
    assert tao_like("completion", shell) == 0
    assert "_TAO_LIKE_COMPLETE" in tao_like.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tao-like class", "classification"),
        ("tao-like classification tr", "train"),
        ("tao-like classification train train.optim.l", "train.optim.lr="),
    ],
)
def test_the_shell_s_question_is_answered(words: str, expected: str) -> None:
    question = {
        "_TAO_LIKE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)
    }  # fmt: skip
    command = [sys.executable, "-m", "tao_like.cli"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **question}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"plain,{expected}" in done.stdout.splitlines()


def test_bash_takes_the_completion_script() -> None:
    command = f'set -e; eval "$({sys.executable} -m tao_like.cli completion bash)"; complete -p tao-like'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tao-like" in done.stdout


def test_status_shows_the_folders_of_several_trainings(tao_like: CommandLine, tmp_path: Path) -> None:
    began = {"deep/er/first": "2026-01-01", "second": "2026-02-01"}
    for name, day in began.items():
        for stage, hour in (("train", "10"), ("evaluate", "11")):
            folder = tmp_path / name / stage
            folder.mkdir(parents=True)
            entry = {"status": "SUCCESS", "message": f"done \x1b[31m{name}", "stage": stage, "run_id": stage}
            line = json.dumps({**entry, "timestamp": f"{day}T{hour}:00:00+00:00"})
            (folder / "status.json").write_text(line + "\n", encoding="utf-8")
    assert tao_like("status", str(tmp_path)) == 0
    lines = tao_like.output.splitlines()
    shown = [line.split()[0] for line in lines if line.strip()]
    first, second = (str(tmp_path / name) for name in began)
    assert shown == [first, "train", "evaluate", second, "train", "evaluate"]
    assert "\x1b[31m" not in "".join(lines)


def test_init_names_a_spec_after_the_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans of v2.0"
    folder.mkdir()
    np.save(folder / "train_data.npy", np.ones((4, 3, 20, 18, 1), np.float32))
    (folder / "train_labels.json").write_text('{"labels": [0, 1, 0, 1]}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["pose_classification", "init", str(folder)])
    assert ended.value.code == 0
    assert (tmp_path / "scans of v2.0.yaml").is_file()
    assert "train -e 'scans of v2.0.yaml'" in capsys.readouterr().out
