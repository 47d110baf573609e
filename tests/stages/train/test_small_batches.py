"""A step of one sample, for which batch normalization has no spread to measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage_runs import assert_failed
from tiny_classification import data_overrides, run

from tao_like.errors import SpecError


def test_a_step_of_one_sample_names_the_batch_size(class_folders: Path, tmp_path: Path) -> None:
    words = [*data_overrides(class_folders), "train.max_steps=1", "dataset.batch_size=1"]
    with pytest.raises(SpecError, match=r"a step has 1 sample, .*dataset\.batch_size=2 or more") as caught:
        run("train", tmp_path, *words)
    assert caught.value.exit_code == 2
    assert_failed(tmp_path / "train", "dataset.batch_size")
