"""``write_suggested``: a spec that was worked out from data, with the user's own values in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tao_like.config import load_spec
from tao_like.config.writing.annotated import AnnotatedValue
from tao_like.config.writing.suggested import write_suggested
from tao_like.errors import SpecError
from tao_like.tasks.classification.spec import Spec

VALUES = (
    AnnotatedValue("dataset.img_size", 96, "they are small"),
    AnnotatedValue("train.num_epochs", 12, "25 steps each"),
)


def write(target: Path, *overrides: str) -> str:
    """Writes a spec of two values and the overrides; gives its text."""
    write_suggested(Spec, "classification", Path("photos"), target, VALUES, overrides, found="40 images")
    return target.read_text("utf-8")


def test_values_of_the_user_take_the_place_of_those_that_were_worked_out(tmp_path: Path) -> None:
    text = write(
        tmp_path / "mine.yaml",
        "train.num_epochs=3",
        "model.backbone.type=resnet18",
        "dataset.augmentation.mean=[0.5,0.5,0.5]",
        "dataset.augmentation.std=[0.5,0.5,0.4]",
        "dataset.img_size=96",
        "train.optim.lr_scheduler=linear",
    )
    assert yaml.safe_load(text) == {
        "results_dir": "results/mine",
        "dataset": {"img_size": 96, "augmentation": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.4]}},
        "train": {"num_epochs": 3, "optim": {"policy": "linear"}},
        "model": {"backbone": {"type": "resnet18"}},
    }
    assert "# they are small\n" in text
    assert "25 steps each" not in text


@pytest.mark.parametrize("name", ["two\nlines: 1", "1e5", "a\u2028b", "no"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    values = [AnnotatedValue("dataset.train_dataset.images_dir", name, "as it was found")]
    target = tmp_path / f"{name}.yaml"
    write_suggested(Spec, "classification", Path(name), target, values, found="40 images")
    spec = load_spec(Spec, target).spec
    assert (spec.dataset.train_dataset.images_dir, spec.results_dir) == (name, f"results/{name}")


@pytest.mark.parametrize("override", ["train.num_epoch=3", "train.num_epochs=many", "train.num_epochs"])
def test_nothing_is_written_where_a_value_of_the_user_is_wrong(tmp_path: Path, override: str) -> None:
    target = tmp_path / "mine.yaml"
    with pytest.raises(SpecError, match="num_epoch"):
        write(target, override)
    assert not target.exists()
    before = write(target)
    with pytest.raises(SpecError):
        write(target, override)
    assert target.read_text("utf-8") == before
