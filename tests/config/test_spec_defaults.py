"""Specs that begin with a ready one: ``defaults: [task/name]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tao_like.config import json_schema, load_spec, to_dict
from tao_like.config.shipped import shipped_spec_files
from tao_like.errors import SpecError
from tao_like.tasks import spec_module

NAME = "classification/small_data"


def spec_class(task: str = "classification") -> Any:
    return spec_module(task).Spec


def laid_on(base: Any, over: Any) -> Any:
    """What a reader of the two files expects."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{name: laid_on(base.get(name), value) for name, value in over.items()}}


def loaded(given: Any, *overrides: str) -> Any:
    return load_spec(spec_class(), given, overrides)


@pytest.mark.parametrize("name", list(shipped_spec_files()))
def test_a_spec_of_defaults_alone_is_the_ready_spec(name: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"defaults: [{name}]\n", encoding="utf-8")
    kind = spec_class(name.partition("/")[0])
    ready = load_spec(kind, shipped_spec_files()[name])
    mine = load_spec(kind, path)
    assert to_dict(mine.spec) == to_dict(ready.spec)
    assert mine.given == ready.given
    assert f"what it does not set itself is that of {name}" in mine.notes[-1]


def test_defaults_then_the_file_then_the_command_line(tmp_path: Path) -> None:
    own = {
        "results_dir": "mine",
        "model": {"head": {"loss": {"label_smooth_val": 0.2}}},
        "dataset": {"train_dataset": {"images_dir": "my photos"}, "img_size": 160},
        "train": {"num_epochs": 7},
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({"defaults": [NAME, "_self_"], **own}), encoding="utf-8")
    spec = loaded(path, "train.num_epochs=9").spec
    ready = yaml.safe_load(shipped_spec_files()[NAME].read_text("utf-8"))
    expected = loaded(laid_on(laid_on(ready, own), {"train": {"num_epochs": 9}})).spec
    assert to_dict(spec) == to_dict(expected)
    assert spec.model.backbone.freeze_backbone
    assert (spec.dataset.img_size, spec.train.num_epochs, spec.results_dir) == (160, 9, "mine")


def test_of_several_the_later_ones_win() -> None:
    names = [NAME, "classification/vit_finetune"]
    files = [yaml.safe_load(shipped_spec_files()[name].read_text("utf-8")) for name in names]
    assert to_dict(loaded({"defaults": names}).spec) == to_dict(loaded(laid_on(*files)).spec)
    assert to_dict(loaded({"defaults": NAME}).spec) == to_dict(loaded(files[0]).spec)


def test_other_names_of_a_key_replace_that_of_the_ready_spec() -> None:
    assert loaded({"defaults": [NAME], "train": {"random_seed": 77}}).spec.train.seed == 77


def test_references_reach_into_the_ready_spec() -> None:
    spec = loaded({"defaults": [NAME], "results_dir": "results/${dataset.img_size}"}).spec
    assert spec.results_dir == "results/224"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[classification/smal_data]", "no ready spec 'classification/smal_data'"),
        ("[classification/smal_data]", "did you mean classification/small_data?"),
        ("[../../secret]", "files of your own cannot be named"),
        ("[/etc/passwd]", "files of your own cannot be named"),
        ("[https://example.com/spec]", "files of your own cannot be named"),
        ("[_self_, classification/small_data]", "_self_ stands last"),
        ("[{optimizer: adam}]", "give names of ready specs, such as [classification/"),
        ("[" + "classification/small_data," * 11 + "]", "at most 10"),
        ("[detection/yolox_small]", "detection/yolox_small"),
    ],
)
def test_what_cannot_be_laid_on(given: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"results_dir: x\ndefaults: {given}\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        loaded(path)
    assert words in str(caught.value)
    assert f"{path}:2  defaults" in str(caught.value)


def test_a_ready_spec_of_another_task_is_told_with_its_file(tmp_path: Path) -> None:
    name = next(name for name in shipped_spec_files() if name.startswith("pointpillars/"))
    path = tmp_path / "spec.yaml"
    path.write_text(f"defaults: [{name}]\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        loaded(path)
    assert {problem.file for problem in caught.value.problems} == {str(shipped_spec_files()[name])}


def test_editors_know_the_list() -> None:
    assert json_schema(spec_class())["properties"]["defaults"]["items"]["type"] == "string"
