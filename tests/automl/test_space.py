"""What a search varies, worked out by hand from the spec's declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tao_like.automl.space import Parameter, laid_on, parameters_of
from tao_like.config import load_spec
from tao_like.errors import SpecError
from tao_like.tasks import spec_module, task_names


def parameters(spec: Mapping[str, Any], task: str = "classification") -> list[Parameter]:
    loaded = load_spec(spec_module(task).Spec, spec)
    return parameters_of(loaded.spec, loaded.given)


def one(**fields: Any) -> Parameter:
    (parameter,) = parameters({"automl": {"parameters": [fields]}})
    return parameter


def test_left_out_it_is_rate_and_decay_and_what_the_spec_sets() -> None:
    found = parameters(
        {"model": {"backbone": {"drop_rate": 0.2}}, "train": {"optim": {"lr": 0.002}, "seed": 3}}
    )
    assert [(p.key, p.low, p.high, p.log) for p in found] == [
        ("train.optim.lr", pytest.approx(0.0002), pytest.approx(0.02), True),
        ("train.optim.weight_decay", pytest.approx(0.001), pytest.approx(0.1), True),
        ("model.backbone.drop_rate", 0.0, pytest.approx(1, abs=1e-5), False),
    ]


@pytest.mark.parametrize("task", task_names())
def test_every_task_has_something_to_vary_and_all_of_it_is_allowed(task: str) -> None:
    spec_class = spec_module(task).Spec
    found = parameters({}, task)
    assert found
    from dataclasses import asdict

    for parameter in found:
        for value in parameter.grid():
            load_spec(spec_class, laid_on(asdict(spec_class()), {parameter.key: value}))


def test_a_range_is_narrowed() -> None:
    found = one(parameter="train.optim.lr", valid_min=0.001, valid_max=0.002)
    assert (found.low, found.high, found.log) == (0.001, 0.002, False)
    found = one(parameter="train.optim.lr", min=1e-5, max=0.1)
    assert (found.low, found.high, found.log) == (1e-5, 0.1, True)


def test_a_key_that_is_not_declared_for_it_is_added() -> None:
    found = one(parameter="train.num_epochs", valid_min=2, valid_max=9)
    assert (found.low, found.high, found.whole, found.log) == (2, 9, True, False)
    assert one(parameter="train.optim.optim", options=["sgd", "adamw"]).choices == ("sgd", "adamw")
    assert one(parameter="train.enable_ema").choices == (False, True)


@pytest.mark.parametrize(
    ("fields", "key", "text"),
    [
        (
            {"parameter": "dataset.train_dataset.images_dir", "valid_options": ["/etc"]},
            "parameter",
            "paths are not varied",
        ),
        ({"parameter": "results_dir", "valid_options": ["/etc"]}, "parameter", "cannot be varied"),
        ({"parameter": "train.optim.rate"}, "parameter", "there is no key train.optim.rate"),
        ({"parameter": "train.optim"}, "parameter", "cannot be varied"),
        ({"parameter": "automl.seed"}, "parameter", "cannot be varied"),
        ({"parameter": "train.optim.lr", "valid_max": 11}, "valid_max", "greater than 0 and at most 10"),
        ({"parameter": "train.num_epochs", "valid_max": 0}, "valid_max", "at least 1"),
        ({"parameter": "model.backbone.type"}, "valid_options", "is no number"),
        ({"parameter": "model.backbone.drop_rate", "log": True}, "log", "above 0"),
    ],
)
def test_what_cannot_be_varied_is_named(fields: dict[str, Any], key: str, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        one(**fields)
    (problem,) = caught.value.problems
    assert problem.key == f"automl.parameters[0].{key}"
    assert text in problem.text


@pytest.mark.parametrize("algorithm", ["dehb", "llm"])
def test_algorithms_that_are_not_here_say_so(algorithm: str) -> None:
    with pytest.raises(SpecError, match=f"automl.algorithm: {algorithm} is not here"):
        parameters({"automl": {"algorithm": algorithm}})


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"algorithm": "bayesian", "max_concurrent": 2}, "take bfbo"),
        ({"algorithm": "hyperband_es"}, "needs one"),
        ({"parameters": [{"parameter": "a.b"}, {"parameter": "a.b"}]}, "named twice"),
        ({"parameters": [{"parameter": "a.b", "min": 2, "max": 1}]}, "more than valid_max"),
    ],
)
def test_settings_that_do_not_go_together(block: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError, match=text):
        parameters({"automl": block})


def test_the_points_of_a_grid() -> None:
    assert Parameter("a", 1.0, 100.0, log=True).grid() == [1.0, pytest.approx(10.0), 100.0]
    assert Parameter("a", 0.0, 1.0, steps=5).grid() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Parameter("a", 1.0, 2.0, whole=True, steps=5).grid() == [1.0, 2]
    assert Parameter("a", choices=("x", "y")).grid() == ["x", "y"]


def test_values_are_laid_on_a_copy() -> None:
    base = {"train": {"optim": {"lr": 1.0}, "seed": 1}, "model": {}}
    assert laid_on(base, {"train.optim.lr": 2.0}) == {"train": {"optim": {"lr": 2.0}, "seed": 1}, "model": {}}
    assert base["train"]["optim"]["lr"] == 1.0  # type: ignore[index]
