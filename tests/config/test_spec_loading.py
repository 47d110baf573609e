from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from example_spec import CheckedSpec, Spec

from tao_like.config import MISSING, load_spec, require, spec_field, spec_from_dict, validate_spec_class
from tao_like.errors import SpecError


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_spec(text: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_spec


def errors(spec_class: type, path: Path | None, overrides: tuple[str, ...] = ()) -> list[str]:
    """The lines of the error, with the file's folder taken away."""
    with pytest.raises(SpecError) as caught:
        load_spec(spec_class, path, overrides)
    folder = f"{path.parent}/" if path else ""
    return str(caught.value).replace(folder, "").splitlines()


def test_defaults_then_file_then_overrides(write: Any) -> None:
    path = write("train:\n  num_epochs: 20\n  gpu_ids: [1]\n  optim: {lr: 1e-2, optim: sgd}\n")
    loaded = load_spec(Spec, path, ["train.optim.lr=0.5", "train.gpu_ids=[2,3]"])
    train = loaded.spec.train
    assert (train.num_epochs, train.gpu_ids, train.optim.optim, train.optim.lr) == (20, [2, 3], "sgd", 0.5)
    assert train.optim.betas == [0.9, 0.999]
    assert loaded.path == path
    assert loaded.given == {"train.num_epochs", "train.gpu_ids", "train.optim.lr", "train.optim.optim"}


def test_result_is_the_dataclass_with_typed_values() -> None:
    spec = spec_from_dict(Spec, {"train": {"optim": {"lr": 1}, "layers": [{"name": "a"}]}}, source="x").spec
    assert isinstance(spec, Spec)
    assert type(spec.train.optim.lr) is float
    assert dataclasses.asdict(spec.train.layers[0]) == {"name": "a", "bits": 8}
    assert type(spec.train.gpu_ids) is list
    assert type(spec.train.optim.policy_params) is dict


def test_specs_share_no_lists() -> None:
    first = load_spec(Spec, None).spec
    first.train.gpu_ids.append(7)
    assert load_spec(Spec, None).spec.train.gpu_ids == [0]
    assert Spec().train.gpu_ids == [0]


def test_all_errors_come_together_in_the_order_of_the_file(write: Any) -> None:
    path = write(
        "title: fine\n"
        "train:\n"
        "  num_epochs: 0\n"
        "\n"
        "  # a comment\n"
        "  optmi: {lr: 1}\n"
        "  gpu_ids:\n"
        "    - 0\n"
        "    - -1\n"
        "  optim:\n"
        "    lr: high\n"
        "    optim: adm\n"
        "color: red\n"
    )
    assert errors(Spec, path, ("train.seed=-5",)) == [
        "spec.yaml:3  train.num_epochs: 0 is not allowed; it must be at least 1 (Passes over the data)",
        "spec.yaml:6  train.optmi: unknown key; did you mean train.optim?",
        "spec.yaml:9  train.gpu_ids[1]: -1 is not allowed; it must be at least 0 (GPUs to use)",
        'spec.yaml:11  train.optim.lr: "high" is text; it must be a number, greater than 0 and at most 10 '
        "(Learning rate at the end of the warm-up)",
        'spec.yaml:12  train.optim.optim: "adm" is not allowed; it must be one of adamw, adam, sgd; '
        "did you mean adam? (Optimizer)",
        "spec.yaml:13  color: unknown key; "
        "the keys of a spec are results_dir, title, images, train, evaluate",
        "command line  train.seed: -5 is not allowed; it must be at least 0 (Seed of the random numbers)",
    ]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("train: {enable_ema: 1}", "must be true or false"),
        ('train: {enable_ema: "true"}', "must be true or false, without quotes"),
        ("train: {num_epochs: true}", "true is true or false; it must be a whole number"),
        ("train: {num_epochs: 2.5}", "2.5 is a number; it must be a whole number"),
        ("train: {num_epochs: [2]}", "this is a list; it must be a whole number"),
        ("train: {num_epochs: }", "there is no value; it must be a whole number, at least 1"),
        ('train: {num_epochs: "5"}', '"5" is text; it must be a whole number'),
        ("train: {batch_size: all}", "must be a whole number, at least 1, or auto"),
        ("train: {batch_size: 0}", "must be at least 1 or auto"),
        ("train: {optim: {lr: .nan}}", "must be a finite number"),
        ("train: {optim: {lr: .inf}}", "must be a finite number"),
        ("train: {optim: {lr: 1e999}}", "must be a finite number"),
        ("train: {optim: {lr: 10.001}}", "must be greater than 0 and at most 10"),
        ("train: {optim: {betas: 0.9}}", "must be a list of numbers, such as [0.9]"),
        (
            "train: {optim: {betas: [0.9, 1]}}",
            "betas[1]: 1 is not allowed; it must be at least 0 and less than 1",
        ),
        (
            "train: {class_weights: {cat: 0}}",
            "class_weights.cat: 0 is not allowed; it must be greater than 0",
        ),
        ("train: {seed: x}", "must be a whole number, at least 0, or null"),
        ("train: 5", "this is a block of keys; set those inside it, such as train.num_epochs"),
        ("train: {layers: [{bits: 4}]}", "layers[0].name: it has no value and must be given"),
        ("train: {layers: [{name: a, bits: 5}]}", "layers[0].bits: 5 is not allowed; it must be one of 4, 8"),
        ("train: {layers: [null]}", "layers[0]: this element has no keys; its keys are name, bits"),
        ("train: {layers: a}", '"a" is text; it must be a list of blocks'),
        ("train: {layers: {bits: 4}}", "train.layers.name: it has no value and must be given"),
        ("title: null", 'there is no value; it must be text: give one, or write "" for no text'),
        ("title: [a]", "this is a list; it must be text"),
        ("evaluate: {device: tpu}", "must match cpu|cuda(:[0-9]+)?"),
        ("results_dir: ???", "??? stands for a value to fill in"),
        ("images: ['???']", "images[0]: ??? stands for a value to fill in"),
        ("train: {num_epochs: 99999999999999999999}", "must fit into 64 bits"),
    ],
)
def test_wrong_values_are_explained(write: Any, line: str, wanted: str) -> None:
    (message,) = errors(Spec, write(line))
    assert wanted in message


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("train: {num_epochs: 1e3}", "train.num_epochs", 1000),
        ("train: {num_epochs: 1_000}", "train.num_epochs", 1000),
        ("train: {optim: {lr: 1e-3}}", "train.optim.lr", 0.001),
        ("train: {optim: {lr: 2}}", "train.optim.lr", 2.0),
        ("train: {enable_ema: yes}", "train.enable_ema", True),
        ("train: {enable_ema: Off}", "train.enable_ema", False),
        ("train: {batch_size: 16}", "train.batch_size", 16),
        ("train: {seed: ~}", "train.seed", None),
        ("title: 007", "title", "007"),
        ("title: 1e3", "title", "1e3"),
        ("title: 2024-01-01", "title", "2024-01-01"),
        ("title: on", "title", "on"),
        ("title: 12:30:00", "title", "12:30:00"),
        ("train:", "train.num_epochs", 10),
        ("evaluate:\n  checkpoint: ???", "evaluate.checkpoint", MISSING),
        ("train:\n  seed: ???", "train.seed", None),
        ("title: ???", "title", ""),
    ],
)
def test_right_values_keep_what_was_written(write: Any, line: str, key: str, value: Any) -> None:
    found: Any = load_spec(Spec, write(line)).spec
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


def test_mappings_are_laid_on_their_default(write: Any) -> None:
    path = write("train: {optim: {policy_params: {gamma: 0.5, power: 2}}}")
    loaded = load_spec(Spec, path, ["train.optim.policy_params.power=3"])
    assert loaded.spec.train.optim.policy_params == {"gamma": 0.5, "milestones": [10, 20], "power": 3}
    assert "train.optim.policy_params.power" in loaded.given


@pytest.mark.parametrize(
    "text",
    [
        "train: {optimizer: {type: sgd}}",
        "train: {optim: {optimizer: sgd}}",
        "train: {optimizer: {lr: 0.1}, optim: {optim: sgd}}",
        "old_train: {optim: {type: sgd}}",
        "old_train: {num_epochs: 3}\ntrain: {optim: {type: sgd}}",
    ],
)
def test_other_names_reach_the_same_key(write: Any, text: str) -> None:
    loaded = load_spec(Spec, write(text))
    assert loaded.spec.train.optim.optim == "sgd"
    assert "train.optim.optim" in loaded.given


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("out: a\nresults_dir: b\n", "spec.yaml:2  results_dir: the same key is given as out (spec.yaml:1)"),
        (
            "train:\n  optimizer: {lr: 1}\n  optim: {lr: 2}\n",
            "spec.yaml:3  train.optim.lr: the same key is given as train.optimizer.lr (spec.yaml:2)",
        ),
        (
            "train:\n  gamma: 1\n  optim: {policy_params: {gamma: 2}}\n",
            "spec.yaml:2  train.gamma: "
            "the same key is given as train.optim.policy_params.gamma (spec.yaml:3)",
        ),
        (
            "schedule: {warmup: 1}\ntrain: {warmup: 2}\n",
            "spec.yaml:1  schedule.warmup: the same key is given as train.warmup (spec.yaml:2)",
        ),
    ],
)
def test_a_key_given_under_two_names_is_an_error(write: Any, text: str, line: str) -> None:
    assert errors(Spec, write(text)) == [f"{line}; keep one of them"]


def test_moved_keys_that_say_the_same_are_one(write: Any) -> None:
    loaded = load_spec(Spec, write("schedule: {warmup: 1}\ntrain: {warmup: 1}\n"))
    assert loaded.spec.train.warmup == 1


def test_a_list_whose_elements_are_keys_of_their_own(write: Any) -> None:
    for given in (load_spec(Spec, write("size: [3, 5]\n")), load_spec(Spec, None, ["size=[3,5]"])):
        assert (given.spec.train.num_epochs, given.spec.train.seed) == (3, 5)
    assert load_spec(Spec, write("size: []\n")).given == frozenset()
    wrong = "is not allowed; give 2 values: train.num_epochs, train.seed"
    assert errors(Spec, write("size: [3]\n")) == [f"spec.yaml:1  size: a list {wrong}"]
    assert errors(Spec, write("size: 3\n")) == [f"spec.yaml:1  size: 3 {wrong}"]
    twice = errors(Spec, write("size: [3, 5]\ntrain: {seed: 6}\n"))
    assert "the same key is given as train.seed (spec.yaml:2); keep one of them" in twice[0]


@pytest.mark.parametrize("nothing", ["[]", "false", "", "null", "''"])
def test_a_refused_key_may_stand_there_empty(write: Any, nothing: str) -> None:
    (note,) = load_spec(Spec, write(f"train: {{freeze: {nothing}}}\n")).notes
    assert "train.freeze" in note
    assert errors(Spec, write("train: {freeze: [a]}\n")) == [
        "spec.yaml:1  train.freeze: a list is not allowed; give results_dir"
    ]
    with pytest.raises(SpecError, match=r"train\.freeze: .\[a\]. is not allowed; give results_dir"):
        load_spec(Spec, None, ["train.freeze=[a]"])
    assert load_spec(Spec, None, ["train.freeze=[]"]).given == frozenset()


def test_errors_name_the_key_as_the_user_wrote_it(write: Any) -> None:
    assert errors(Spec, write("schedule:\n  warmup: -1\n"))[0].startswith(
        "spec.yaml:2  schedule.warmup: -1 is not"
    )
    assert "train.optimizer.type:" in errors(Spec, write("train: {optimizer: {type: x}}"))[0]


def test_ignored_keys_make_one_note(write: Any) -> None:
    loaded = load_spec(
        Spec, write("wandb: {enable: true, name: '${oc.env:A}'}\ntrain: {cudnn: {benchmark: yes}}\n")
    )
    (note,) = loaded.notes
    assert "ignored, as without meaning here: wandb, train.cudnn.benchmark" in note
    assert loaded.given == frozenset()
    assert "train.cudnn.speed: unknown key" in errors(Spec, write("train: {cudnn: {speed: 1}}"))[0]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("train.num_epoch", "train.num_epochs"),
        ("train.lr", "train.optim.lr"),
        ("lr", "train.optim.lr"),
        ("train.optimiser", "train.optimizer"),
        ("trian.num_epochs", "train?"),
        ("Train.num_epochs", "train?"),
        ("evaluate.check_point", "evaluate.checkpoint"),
        ("num-epochs", "train.num_epochs"),
    ],
)
def test_unknown_keys_suggest_what_was_meant(key: str, meant: str) -> None:
    (message,) = errors(Spec, None, (f"{key}=1",))
    assert f"unknown key; did you mean {meant}" in message


def test_rules_between_keys_are_reported_together_with_their_lines(write: Any) -> None:
    path = write(
        "plan:\n  epochs: 200\n  milestones: [300]\n"
        "phases:\n  - epochs: 3\n  - epochs: 5\n    milestones: [9]\n"
    )
    assert errors(CheckedSpec, path) == [
        "spec.yaml  total: is less than schedule.epochs=200",
        "spec.yaml:3  plan.milestones: 300 lies beyond epochs=200; choose an earlier one",
        "spec.yaml:5  phases[0].milestones: 5 lies beyond epochs=3; choose an earlier one",
        "spec.yaml:7  phases[1].milestones: 9 lies beyond epochs=5; choose an earlier one",
    ]
    assert errors(CheckedSpec, None, ("plan.milestones=[30]",)) == [
        "command line  plan.milestones: 30 lies beyond epochs=10; choose an earlier one"
    ]


def test_require_wants_a_value() -> None:
    spec = load_spec(Spec, None).spec
    assert require(spec, "train.num_epochs") == 10
    for key in ("evaluate.checkpoint", "title", "train.seed"):
        with pytest.raises(SpecError, match=rf"{key} has no value.* add {key}=\.\.\."):
            require(spec, key)


def test_plain_values_are_checked_like_a_file() -> None:
    with pytest.raises(SpecError, match=r"model\.tltb  train\.num_epochs: -1 is not allowed"):
        spec_from_dict(Spec, {"train": {"num_epochs": -1}}, source="model.tltb")
    with pytest.raises(SpecError, match=r"title: a value of type bytes cannot stand in a spec"):
        spec_from_dict(Spec, {"title": b"x"}, source="model.tltb")
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    with pytest.raises(SpecError, match=r"model\.tltb  train.*: it is nested too deeply"):
        spec_from_dict(Spec, {"train": {"optim": {"policy_params": {"x": nested}}}}, source="model.tltb")


@dataclass
class BadDefaults:
    """Defaults that break their own rules."""

    rate: float = spec_field(0.0, "Rate", gt=0)
    kind: str = spec_field("c", "Kind", choices=lambda: ["a", "b"])
    sizes: list[int] = spec_field([1, -1], "Sizes", element_ge=0)


def test_rules_hold_for_defaults_too() -> None:
    validate_spec_class(Spec)
    validate_spec_class(CheckedSpec)
    with pytest.raises(SpecError) as caught:
        validate_spec_class(BadDefaults)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "BadDefaults  rate",
        "BadDefaults  kind",
        "BadDefaults  sizes[1]",
    ]


@dataclass
class BadType:
    """A type that a spec cannot hold."""

    where: Path = spec_field(Path(), "Where")


@dataclass
class TwoNames:
    """An alias that is a key."""

    a: int = spec_field(1, "A")
    b: int = spec_field(1, "B", aliases=("a",))


@dataclass
class Undeclared:
    """A plain field."""

    a: int = 1


@pytest.mark.parametrize(
    ("spec_class", "reason"),
    [
        (BadType, "cannot be the type"),
        (TwoNames, "is taken already"),
        (Undeclared, "not declared with spec_field"),
    ],
)
def test_mistakes_of_a_spec_class_are_named(spec_class: type, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        load_spec(spec_class, None)
