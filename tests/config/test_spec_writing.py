from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import yaml
from example_spec import CheckedSpec, Layer, Spec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tao_like.config import default_yaml, iter_fields, load_spec, spec_from_dict, to_dict, to_yaml


def reload(text: str, spec_class: type = Spec) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(text, encoding="utf-8")
        return load_spec(spec_class, path).spec


texts = st.text().filter(lambda text: "${" not in text and text != "???")
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(-1e300, 1e300), texts),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.sampled_from("abc1"), children)
    ),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(
    texts,
    st.lists(texts, max_size=3),
    st.floats(1e-300, 10),
    st.one_of(st.just("auto"), st.integers(1, 2**62)),
    plain,
)
@example("\x85", ["\u2028", "\u2029"], 1.0, "auto", "\r")
def test_a_written_spec_loads_to_an_equal_one(
    title: str, names: list[str], lr: float, batch_size: int | str, anything: Any
) -> None:
    spec = Spec(title=title)
    spec.train.layers = [Layer(name=name) for name in names]
    spec.train.optim.lr = lr
    spec.train.batch_size = batch_size
    spec.train.optim.policy_params["anything"] = anything
    assert reload(to_yaml(spec)) == spec
    assert spec_from_dict(Spec, to_dict(spec), source="x").spec == spec


def test_other_yaml_readers_see_the_same_values() -> None:
    spec = load_spec(Spec, None, ["train.optim.lr=1e-5", "title=1e3", "images=['yes','012','a: b']"]).spec
    assert yaml.safe_load(to_yaml(spec)) == to_dict(spec) == dataclasses.asdict(spec)


def test_to_dict_is_a_copy() -> None:
    spec = Spec()
    to_dict(spec)["train"]["gpu_ids"].append(5)
    assert spec.train.gpu_ids == [0]


def test_default_yaml_loads_to_the_defaults() -> None:
    for spec_class in (Spec, CheckedSpec):
        text = default_yaml(spec_class)
        assert reload(text, spec_class) == spec_class()
        assert yaml.safe_load(text) == dataclasses.asdict(spec_class())


def test_default_yaml_reads_like_this() -> None:
    text = default_yaml(Spec)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert text.startswith(
        "# Spec of the tests.\n"
        "# Keys that are left out have the default shown here.\n"
        "# ??? must be given before the stage that it belongs to runs.\n"
        "\n"
        "# Folder for all that a run writes [also called out]\n"
        "results_dir: results\n"
    )
    assert (
        "# Training\n"
        "train:\n"
        "  # Passes over the data [epochs; >= 1]\n"
        "  num_epochs: 10\n"
        "  # Epochs of warm-up [epochs; >= 0]\n"
        "  warmup: 0\n"
        "  # Samples in a batch [>= 1 or auto]\n"
        "  batch_size: auto\n"
        "  # Seed of the random numbers [>= 0; or null]\n"
        "  seed: null\n"
    ) in text
    assert (
        "  # Layers that differ from the rest\n"
        "  # Each element has the keys:\n"
        "  #     name: ??? - Name of the layer\n"
        "  #     bits: 8 - Bits of a weight [4, 8]\n"
        "  layers: []\n"
    ) in text
    assert "    policy_params:\n      gamma: 0.1\n      milestones: [10, 20]\n" in text


def test_iter_fields_names_every_key_once() -> None:
    fields = {info.key: info for info in iter_fields(Spec)}

    def leaves(plain: dict[str, Any], path: str) -> set[str]:
        found = set()
        for name, value in plain.items():
            inner = isinstance(value, dict) and name not in ("policy_params", "class_weights")
            found |= leaves(value, f"{path}{name}.") if inner else {f"{path}{name}"}
        return found

    assert {key for key in fields if "[]" not in key} == leaves(dataclasses.asdict(Spec()), "")
    lr = fields["train.optim.lr"]
    assert (lr.type, lr.default, lr.range, lr.automl) == ("float", 1e-3, "> 0 and <= 10", True)
    assert fields["train.batch_size"].range == ">= 1 or auto"
    assert fields["train.batch_size"].type == "int | str"
    assert fields["train.seed"].type == "int | None"
    assert fields["train.optim.optim"].choices == ("adamw", "adam", "sgd")
    assert fields["train.layers[].bits"].help == "Bits of a weight"
