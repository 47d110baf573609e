from __future__ import annotations

import contextlib
import os.path
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from example_spec import Spec
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tao_like.config import load_spec
from tao_like.errors import SpecError

# Paths as people have them, made of the characters that Hydra's grammar gives a meaning.
awkward = st.text(st.sampled_from(" ,[](){}'\"\\=~+-:/.@%#?*|;!&$<>äßé日\tab01e"), min_size=1)
paths = st.one_of(awkward, st.text(min_size=1)).filter(
    lambda text: "${" not in text and text != "???" and "\0" not in text
)


def expanded(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111 - Path would also drop a leading ./


def overridden(*overrides: str) -> Spec:
    return load_spec(Spec, None, overrides).spec


def refused(*overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(Spec, None, overrides)
    text = str(caught.value)
    assert all(line.startswith("command line  ") for line in text.splitlines())
    return text


@settings(max_examples=40, deadline=None)
@given(paths.filter(lambda text: text.strip().lower() != "null" and text[0] not in "'\""))
@example("/data/run [1], äö")
@example("a,b")
@example("[a, b]")
@example("{a: b}")
@example("choice(a,b)")
@example("~/x=y")
@example("a~b")
@example("1e3")
@example("true")
@example("C:\\new\\[x]\\")
@example("it's")
def test_a_path_on_the_command_line_is_taken_to_the_letter(text: str) -> None:
    spec = overridden(f"results_dir={text}", f"evaluate.checkpoint={text}")
    assert spec.results_dir == spec.evaluate.checkpoint == expanded(text)


@settings(max_examples=40, deadline=None)
@given(paths)
def test_a_quoted_path_is_what_hydra_quoted(text: str) -> None:
    for quote in Quote:
        quoted = QuotedString(text, quote).with_quotes()
        assert overridden(f"results_dir={quoted}").results_dir == expanded(text)


@settings(max_examples=40, deadline=None)
@given(st.lists(paths, max_size=3))
def test_paths_in_a_list_are_quoted(texts: list[str]) -> None:
    quoted = ",".join(QuotedString(text, Quote.single).with_quotes() for text in texts)
    assert overridden(f"images=[{quoted}]").images == [expanded(text) for text in texts]


@settings(max_examples=40, deadline=None)
@given(paths)
@example("a\x85b")
@example("a\u2028b")
def test_a_path_in_a_file_stays_as_it_is(text: str) -> None:
    # In double quotes: YAML ends lines at U+0085 and U+2028 too, and folds line ends in other texts.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(
            yaml.safe_dump({"results_dir": text, "images": [text]}, allow_unicode=True, default_style='"'),
            encoding="utf-8",
        )
        spec = load_spec(Spec, path).spec
    assert spec.results_dir == expanded(text)
    assert spec.images == [expanded(text)]


def test_the_home_folder_is_expanded_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("X", "never")
    assert overridden("results_dir=~/runs").results_dir == "/home/me/runs"
    assert overridden("results_dir=./a//b/../c/$X").results_dir == "./a//b/../c/$X"
    assert overridden("title=~/runs").title == "~/runs"


@pytest.mark.parametrize(
    ("path", "words"),
    [("a\0b", "no NUL character"), ("runs/" + "\u00e4" * 128 + "/x", "has 256 bytes, and 255")],
)
def test_a_path_that_no_file_can_have_is_refused_by_its_key(path: str, words: str) -> None:
    for content in ({"results_dir": path}, {"images": ["good", path]}):
        with pytest.raises(SpecError, match=rf"{next(iter(content))}.*{words}"):
            load_spec(Spec, content)
    assert load_spec(Spec, {"title": "\u00e4" * 128}).spec.title == "\u00e4" * 128


@settings(max_examples=40, deadline=None)
@given(st.floats(min_value=0, max_value=10, exclude_min=True))
def test_floats_arrive_exactly(value: float) -> None:
    assert overridden(f"train.optim.lr={value!r}").train.optim.lr == value


def value_at(spec: Any, key: str) -> Any:
    for name in key.split("."):
        spec = spec[name] if isinstance(spec, dict) else getattr(spec, name)
    return spec


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.gpu_ids=[0,1]", [0, 1]),
        ("train.gpu_ids=[]", []),
        ("train.batch_size=auto", "auto"),
        ("train.batch_size=8", 8),
        ("train.seed=null", None),
        ("train.enable_ema=True", True),
        ("train.num_epochs= 7", 7),
        ("train.optim.policy_params.gamma=0.5", 0.5),
        ("train.optim.policy_params.name=cosine", "cosine"),
        ("train.optim.policy_params.name='1'", "1"),
        ("train.optim.policy_params.steps=[1,2]", [1, 2]),
        ("train.class_weights={cat: 2, dog: 0.5}", {"cat": 2.0, "dog": 0.5}),
        ("train.class_weights.cat=2", {"cat": 2.0}),
        ("title=", ""),
        ("title=5", "5"),
        ("title=a, b", "a, b"),
        ("evaluate.device=null", None),
    ],
)
def test_values(override: str, value: Any) -> None:
    key = override.partition("=")[0]
    if key == "train.class_weights.cat":
        key = "train.class_weights"
    found = value_at(overridden(override), key)
    assert found == value
    assert type(found) is type(value)


def test_a_list_of_blocks() -> None:
    layers = overridden("train.layers=[{name: 'a, b', bits: 4}, {name: c}]").train.layers
    assert [(layer.name, layer.bits) for layer in layers] == [("a, b", 4), ("c", 8)]


def test_one_block_stands_for_a_list_of_one() -> None:
    (layer,) = overridden("train.layers={name: a, bits: 4}").train.layers
    assert (layer.name, layer.bits) == ("a", 4)


def test_a_whole_block() -> None:
    train = overridden("train={num_epochs: 3, optimizer: {lr: 0.5}}").train
    assert (train.num_epochs, train.optim.lr) == (3, 0.5)


def test_the_last_of_two_wins() -> None:
    assert overridden("train.num_epochs=3", "train.num_epochs=4").train.num_epochs == 4


def test_other_names_and_ignored_keys() -> None:
    loaded = load_spec(
        Spec, None, ["out=x", "train.optimizer.type=sgd", "schedule.warmup=2", "wandb.project=p"]
    )
    assert loaded.spec.results_dir == "x"
    assert loaded.spec.train.optim.optim == "sgd"
    assert loaded.spec.train.warmup == 2
    assert "wandb" in loaded.notes[0]


def test_an_override_replaces_the_same_key_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("out: a\n")
    assert load_spec(Spec, path, ["results_dir=b"]).spec.results_dir == "b"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+train.seed=1", "not added with +, all exist already; write train.seed=1"),
        ("++train.seed=1", "not added with +"),
        ("~train.seed", "keys are not removed with ~"),
        ("--train.seed=1", "without dashes; write train.seed=1"),
        ("train.seed", "this is not a key=value"),
        ("", "this is not a key=value"),
        ("=5", "the key cannot be read"),
        ("train..seed=5", "the key cannot be read"),
        ("train@x=5", "the key cannot be read"),
        ("db/mysql=5", "the key cannot be read"),
        ("train.seed=1,2", "sweeps over several are not available; give one value"),
        ("train.gpu_ids=0,1", "for a list write train.gpu_ids=[0,1]"),
        ("train.seed=choice(1,2)", "sweeps"),
        ("train.seed=range(1,5)", "sweeps"),
        ("title=choice(a,b)", "sweeps"),
        ("train.gpu_ids=[range(1,3)]", "is not a list of whole numbers; write train.gpu_ids=[1,2]"),
        ("train.seed=int(3.7)", '"int(3.7)" is text; it must be a whole number'),
        ("train.gpu_ids=shuffle([1,2])", "sweeps"),
        ("train.gpu_ids.0=5", "elements of a list are not set one by one; give all: train.gpu_ids=[...]"),
        ("train.gpu_ids=[0", "write train.gpu_ids=[1,2]"),
        ("train=5", "this is a block of keys"),
        ("hydra.run.dir=x", "Hydra's own settings are not used"),
        ("defaults=[a]", "stands in a spec file, not on the command line"),
        ("train.optim.policy_params._target_=os.system", "a spec names no Python objects"),
        ("train.optim.policy_params={_target_: os.system}", "a spec names no Python objects"),
        ("images=[1e3]", "images[0]: 1000.0 is a number; it must be text; put it in quotes"),
        ("train.enable_ema=yes", "must be true or false"),
        ("train.optim.lr=nan", "must be a finite number"),
        ("train.optim.policy_params.x=" + "[" * 60 + "]" * 60, "nested too deeply"),
        ("train.num_epochs=" + "9" * 5000, "whole number"),
        ("train.gpu_ids=[" + "1," * 2000 + "1]", "too long for a command line; write it into the spec file"),
        ("train.gpu_ids=[" + "1 " * 20000 + "1]", "too long for a command line; write it into the spec file"),
    ],
)
def test_refusals(override: str, words: str) -> None:
    assert words in refused(override)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(
        ["train.seed", "train.gpu_ids", "train.layers", "train.optim.policy_params", "train", "x"]
    ),
    st.text(st.sampled_from(" ,[](){}'\"\\=~+:.$ab1e_-")),
)
def test_no_text_crashes_the_reader(key: str, text: str) -> None:
    with contextlib.suppress(SpecError):
        load_spec(Spec, None, [f"{key}={text}"])
