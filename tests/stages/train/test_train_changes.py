"""A training that goes on with other numbers of its optimizer, and one that stops before its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage_runs import assert_same_weights, status_lines
from tiny_classification import data_overrides, run

from tao_like.errors import SpecError
from tao_like.stages.train.checkpoints.checkpoint_file import read_checkpoint


def test_rounds_of_a_training(class_folders: Path, tmp_path: Path) -> None:
    words = [*data_overrides(class_folders), "train.num_epochs=4", "train.optim.policy=cosine"]
    run("train", tmp_path / "whole", *words)
    run("train", tmp_path / "first", *words, "train.stop_epoch=2")
    checkpoint = tmp_path / "first" / "train" / "checkpoints" / "last.ckpt"
    resume = f"train.resume_training_checkpoint_path={checkpoint}"
    assert [line["epoch"] for line in status_lines(tmp_path / "first" / "train") if "epoch" in line] == [1, 2]
    # Stopped between, in another folder, it comes to the same as one in one go.
    run("train", tmp_path / "second", *words, resume)
    assert_same_weights(
        tmp_path / "second" / "train" / "model.tltb", tmp_path / "whole" / "train" / "model.tltb"
    )
    # With another rate the moments stay and the schedule goes on, at the new height.
    changed = [*words, resume, "train.optim.lr=1e-3", "train.optim.weight_decay=0.3", "train.stop_epoch=3"]
    with pytest.raises(SpecError, match=r"train.optim.lr was 0.01 and is 0.001"):
        run("train", tmp_path / "refused", *changed)
    run(
        "train",
        tmp_path / "third",
        *changed,
        "train.changes_on_resume=[train.optim.lr,train.optim.weight_decay]",
    )
    run("train", tmp_path / "kept", *words, resume, "train.stop_epoch=3")
    third, kept = (
        read_checkpoint(tmp_path / name / "train" / "checkpoints" / "last.ckpt") for name in ("third", "kept")
    )
    for new, old in zip(third["optimizer"]["param_groups"], kept["optimizer"]["param_groups"], strict=True):
        assert new["lr"] == pytest.approx(old["lr"] / 10)
        assert new["lr"] > 0
        assert new["weight_decay"] == (0.3 if old["weight_decay"] else 0.0)
    assert third["schedule"]["last_epoch"] == kept["schedule"]["last_epoch"]
