"""Where stages look for files, and what they say where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tao_like.errors import SpecError
from tao_like.stages.lib.folders import require_file, where_earlier_trainings_are
from tao_like.tasks.classification.spec import Spec


def test_a_folder_in_the_place_of_a_file_is_answered_with_the_file_in_it(tmp_path: Path) -> None:
    key = "evaluate.checkpoint"
    bundle = tmp_path / "model.tltb"
    with pytest.raises(SpecError, match=f"^{key}: there is no file {bundle}$"):
        require_file(key, bundle)
    with pytest.raises(SpecError, match="is a folder; give the file in it, a bundle"):
        require_file(key, tmp_path)
    bundle.touch()
    require_file(key, bundle)
    with pytest.raises(SpecError, match=f"{tmp_path} is a folder; give the file in it {bundle}$"):
        require_file(key, tmp_path)


def test_the_bundle_of_a_training_that_was_moved_away_is_found(tmp_path: Path) -> None:
    spec = Spec(results_dir=str(tmp_path))
    assert where_earlier_trainings_are(spec) == ""
    for name in ("train-001", "train-002", "train-003", "train-old"):
        (tmp_path / name).mkdir()
        if name != "train-003":
            (tmp_path / name / "model.tltb").touch()
    assert where_earlier_trainings_are(spec).endswith(f" {tmp_path / 'train-002' / 'model.tltb'}")
