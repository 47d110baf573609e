"""Stages that the command line hands to an executor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from engines import fake_slurm
from tiny_classification import TINY, data_overrides
from waiting import wait_for

from tao_like.bundle import read_bundle
from tao_like.jobs.attached import AttachedJob

WORDS = [*TINY, "train.num_epochs=2"]


def tao_like(*words: str, **settings: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tao_like.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,  # type: ignore[call-overload]
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, errors = process.communicate(timeout=300)
    return process.returncode, out, errors


def test_a_training_by_slurm_looks_like_one_here(
    class_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fake_slurm(tmp_path, monkeypatch)
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump({"execution": {"executor": "slurm", "environment": {"COLOR": "blue"}}}))
    words = ["classification", "train", "-e", "spec.yaml", *WORDS, *data_overrides(class_folders)]
    code, out, errors = finished(tao_like(*words, cwd=tmp_path))
    assert code == 0, errors
    assert "classification train is with slurm" in out
    assert "epoch 2/2: train_loss" in out
    assert "Bundle: results/train/model.tltb" in out
    assert (home / "1").is_dir()
    bundle = read_bundle(tmp_path / "results" / "train" / "model.tltb")
    assert bundle.spec["train"]["num_epochs"] == 2
    (job,) = (tmp_path / "results" / "jobs").iterdir()
    assert "COLOR" in (job / "request.json").read_text()
    # One that fails ends with its code, and says why once.
    wrong = ["-e", "spec.yaml", "dataset.train_dataset.images_dir=nowhere"]
    code, out, errors = finished(tao_like("classification", "dataset_check", *wrong, cwd=tmp_path))
    assert code == 2
    assert out.count("error: ") == 1
    assert "nowhere" in out.partition("error: ")[2]


@pytest.mark.acceptance
def test_one_that_is_left_to_itself_can_be_followed_and_ended(class_folders: Path, tmp_path: Path) -> None:
    words = [*WORDS, *data_overrides(class_folders), f"results_dir={tmp_path}"]
    code, out, errors = finished(
        tao_like("classification", "train", *words, "train.num_epochs=500", "--detach")
    )
    assert code == 0, errors
    folder = out.partition("jobs attach ")[2].split()[0]
    assert f"tao-like jobs cancel {folder}" in out
    job = AttachedJob.read(Path(folder))
    assert job is not None
    wait_for(lambda: b"epoch 1/500" in job.folder.log.read_bytes() if job.folder.log.exists() else False, 60)
    assert job.state().startswith("running: ")
    following = tao_like("jobs", "attach", folder)
    assert following.stdout is not None
    assert any("epoch 1/500" in line for line in following.stdout)
    os.kill(following.pid, signal.SIGINT)  # asks the job to end, and waits for that
    code, _, errors = finished(following)
    assert code == 130
    assert "interrupted" in errors
    assert job.state().startswith("failed: ")
    assert (tmp_path / "train" / "checkpoints" / "last.ckpt").is_file()
    code, out, _ = finished(tao_like("jobs", "logs", folder))
    assert "epoch 1/500" in out
    assert "failed: " in finished(tao_like("jobs", "show", folder))[1]


def test_a_wrong_spec_is_told_before_it_is_handed_over(tmp_path: Path) -> None:
    code, _, errors = finished(
        tao_like("classification", "train", "train.nothing=1", "--executor", "slurm", cwd=tmp_path)
    )
    assert code == 2
    assert "train.nothing" in errors
    assert list(tmp_path.iterdir()) == []
