"""What is wrong in a spec, in parts for programs; and specs that are given as mappings."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from example_spec import CheckedSpec, Spec

from tao_like import config, errors
from tao_like.config import load_spec, require
from tao_like.errors import Problem, SpecError, TaoLikeError


def problems(spec_class: type[Any], given: Any, *overrides: str) -> list[Problem]:
    with pytest.raises(SpecError) as caught:
        load_spec(spec_class, given, overrides)
    assert [str(problem) for problem in caught.value.problems] == str(caught.value).splitlines()
    return caught.value.problems


def test_all_problems_of_a_file_and_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("train:\n  optim: {lr: -1}\n  nm_epochs: 1\n", encoding="utf-8")
    rate, epochs, seed = problems(Spec, path, "train.seed=x")
    assert (rate.key, rate.file, rate.line) == ("train.optim.lr", str(path), 2)
    assert rate.text.startswith("-1 is not allowed; it must be greater than 0")
    assert epochs == Problem("train.nm_epochs", str(path), 3, "unknown key; did you mean train.num_epochs?")
    assert (seed.key, seed.file, seed.line) == ("train.seed", "command line", 0)


def test_a_rule_between_keys_is_a_problem_of_its_key(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("plan:\n  epochs: 3\n  milestones: [5]\n", encoding="utf-8")
    (broken,) = problems(CheckedSpec, path)
    assert (broken.key, broken.line) == ("plan.milestones", 3)


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("train:\n  seed: [", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(Spec, path)
    (problem,) = caught.value.problems
    assert (problem.key, problem.file, problem.line) == ("", str(path), 2)
    assert str(caught.value) == f"{path}:2: {problem.text}"


def test_a_value_that_a_stage_needs() -> None:
    with pytest.raises(SpecError) as caught:
        require(Spec(), "evaluate.checkpoint")
    (problem,) = caught.value.problems
    assert problem.key == "evaluate.checkpoint"
    assert str(caught.value) == f"{problem.key} {problem.text}"


def test_every_error_has_a_problem_and_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SpecError("a", problems=[Problem("k", "f", 1, "a")])))
    assert (str(error), error.problems) == ("a", [Problem("k", "f", 1, "a")])
    assert TaoLikeError("no class has images").problems == [Problem("", "", 0, "no class has images")]
    assert str(Problem("", "spec", 0, "odd")) == "spec  odd"


def test_spec_classes_may_use_the_former_name_of_a_rule_break() -> None:
    assert config.Problem is config.RuleBreak
    assert config.Problem is not errors.Problem


# --- mappings ---


def test_a_mapping_is_a_spec(tmp_path: Path) -> None:
    given = OrderedDict(out=tmp_path, train={"num_epochs": 3, "optimizer": {"lr": 1, "betas": (0.8, 0.9)}})
    loaded = load_spec(Spec, given, ["train.num_epochs=4"])
    assert loaded.spec.results_dir == str(tmp_path)
    assert (loaded.spec.train.num_epochs, loaded.spec.train.optim.lr) == (4, 1.0)
    assert loaded.spec.train.optim.betas == [0.8, 0.9]
    assert loaded.given == {"results_dir", "train.num_epochs", "train.optim.lr", "train.optim.betas"}
    assert loaded.path is None
    assert given["train"] == {"num_epochs": 3, "optimizer": {"lr": 1, "betas": (0.8, 0.9)}}


def test_a_mapping_is_checked_like_a_file() -> None:
    given = {
        "train": {"num_epochs": 0, "nm_epochs": 1, "optim": {"lr": "high"}, "gpu_ids": [0, -1]},
        "title": 5,
        "evaluate": {"device": "gpu"},
    }
    found = problems(Spec, given, "train.seed=x")
    assert [problem.key for problem in found] == [
        "train.nm_epochs",
        "train.num_epochs",
        "train.optim.lr",
        "train.gpu_ids[1]",
        "evaluate.device",
        "train.seed",
    ]
    assert {problem.file for problem in found[:-1]} == {"spec"}
    assert str(found[1]).startswith("spec  train.num_epochs: 0 is not allowed; it must be at least 1")


def test_references_and_ignored_keys_of_a_mapping() -> None:
    loaded = load_spec(Spec, {"title": "run ${train.num_epochs}", "wandb": {"project": "p"}})
    assert loaded.spec.title == "run 10"
    assert loaded.notes[0].startswith("spec: ignored, as without meaning here: wandb")
    with pytest.raises(SpecError, match="no environment variables"):
        load_spec(Spec, {"title": "${oc.env:HOME}"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"title": object()}, "spec  title: a value of type object cannot stand in a spec"),
        ({"train": {"class_weights": {1: 1.0, "1": 2.0}}}, "train.class_weights.1: given twice"),
        ({"train": {"seed": float("nan")}}, "train.seed"),
        ({"train": {"optim": {"policy_params": {"_target_": "os.system"}}}}, "names no Python objects"),
        ({"train": []}, "this is a block of keys"),
        ({1: 2}, "unknown key"),
    ],
)
def test_what_a_mapping_may_not_hold(given: dict[Any, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(Spec, given)
    assert words in str(caught.value)


def test_a_mapping_that_holds_itself() -> None:
    given: dict[str, Any] = {}
    given["train"] = given
    with pytest.raises(SpecError, match="nested too deeply"):
        load_spec(Spec, given)
