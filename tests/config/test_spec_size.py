"""A spec as long as nobody writes one: the work on it is bounded, whatever is in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_spec import Spec

from tao_like.config import load_spec
from tao_like.errors import SpecError

TEXTS: dict[str, Callable[[int], str]] = {
    "a list": lambda n: "train: {gpu_ids: [" + "1," * n + "]}",
    "a list of wrong values": lambda n: "train: {gpu_ids: [" + "x," * n + "]}",
    "texts": lambda n: "images:\n" + "- some/folder\n" * n,
    "blocks": lambda n: "train: {layers: [" + "{name: a}," * n + "]}",
    "a mapping": lambda n: "train: {class_weights: {" + "".join(f"c{i}: 1," for i in range(n)) + "}}",
    "anything": lambda n: "train: {optim: {policy_params: {" + "".join(f"c{i}: 1," for i in range(n)) + "}}}",
    "unknown keys": lambda n: "".join(f"key{i}: 1\n" for i in range(n)),
    "references": lambda n: "train: {seed: 1, gpu_ids: [" + "'${train.seed}'," * n + "]}",
    "wrong choices": lambda n: "train: {layers: [" + "{name: a, bits: 5}," * n + "]}",
}


def seconds(path: Path, text: str) -> float:
    """The best of three: other work on the machine only adds."""
    path.write_text(text, encoding="utf-8")
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        with contextlib.suppress(SpecError):
            load_spec(Spec, path)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("what", TEXTS)
def test_the_time_grows_as_the_text_does(what: str, tmp_path: Path) -> None:
    write = TEXTS[what]
    small, large = (seconds(tmp_path / "spec.yaml", write(n)) for n in (100, 800))
    # 8 times the text: quadratic work would take 64 times as long.
    assert large < 24 * small


@pytest.mark.parametrize("what", TEXTS)
def test_checking_takes_no_longer_than_reading_the_yaml(what: str, tmp_path: Path) -> None:
    """A list took 20 times as long as its YAML, and unknown keys 50 times."""
    import yaml

    text = TEXTS[what](500)
    began = time.process_time()
    yaml.compose(text, yaml.BaseLoader)
    reading = time.process_time() - began
    assert seconds(tmp_path / "spec.yaml", text) < 3 * reading


@pytest.mark.parametrize("given", ["file", "mapping"])
def test_more_values_than_a_spec_has_are_refused(given: str, tmp_path: Path) -> None:
    spec: Any = {"images": ["a"] * 61_000}
    if given == "file":
        spec = tmp_path / "spec.yaml"
        spec.write_text("images: [" + "a," * 61_000 + "]", encoding="utf-8")
    with pytest.raises(SpecError, match=r"more than 60000 values; .* in a file of its own"):
        load_spec(Spec, spec)


def test_what_a_spec_may_hold_is_more_than_the_classes_of_any_data_set(tmp_path: Path) -> None:
    weights = {f"class {number}": 1.0 for number in range(22_000)}
    assert load_spec(Spec, {"train": {"class_weights": weights}}).spec.train.class_weights == weights


def test_many_problems_are_counted_and_the_first_are_told(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("train:\n  gpu_ids:\n" + "  - x\n" * 5000, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(Spec, path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "... and 4950 more"
    assert len(caught.value.problems) == 1000


def test_a_long_value_is_not_repeated_whole(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(Spec, {"evaluate": {"device": "x" * 100_000}, "train": {"y" * 5000: 1}})
    assert all(len(problem.text) <= 1003 for problem in caught.value.problems)
