from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from example_spec import Spec
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_like.config import load_spec
from tao_like.config.reading.document import plain_scalar
from tao_like.errors import SpecError


def message(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(Spec, path)
    text = str(caught.value)
    assert path.name in text
    return text


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", "", "holds no keys"),
        (b"# only a comment\n", "", "holds no keys"),
        (b"---\n...\n", "", "holds no keys"),
        (b"- a\n- b\n", "", "this file holds a list"),
        (b"hello\n", "", "this file holds text"),
        (b"train:\n\tnum_epochs: 1\n", ":2", "there is a tab; indent with spaces"),
        (b"train: {a: 1\n", "", "not YAML"),
        (b"title: a\ntrain: b: c\n", ":2", "not YAML"),
        (b"title: a\n---\ntitle: b\n", ":2", "one YAML document"),
        (b"title: a\ntitle: \xe9\n", ":2", "not UTF-8"),
        ("title: ä\n".encode("utf-16"), ":1", "not UTF-8"),
        (b"PK\x03\x04\x00\x00", "", "binary file"),
        (b"title: a\nx: \x07\n", ":2", "control character"),
        (b"title: a\ntitle: b\n", ":2", "given twice, first in line 1"),
        (b"train:\n  seed: 1\n  optim: {lr: 1, lr: 2}\n", ":3", "given twice"),
        (b"? [a, b]\n: 1\n", ":1", "a key must be one word"),
        (b"title: &x a\n", ":1", "anchors"),
        (b"title: a\nimages: [*x]\n", ":2", "anchors"),
        (b"train:\n  <<: {seed: 1}\n", ":2", "unknown key"),
        (b"title: " + b"[" * 2000 + b"]" * 2000, ":1", "nested too deeply"),
        (b"#" * 2_000_001, "", "larger than 2 MB"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, line: str, words: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    text = message(path)
    assert len(text.splitlines()) == 1
    assert text.startswith(f"{path}{line}")
    assert words in text


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "there is no such spec file" in message(tmp_path / "nothing.yaml")
    assert "this is a folder" in message(tmp_path)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [echo]",
        "!!python/name:os.system ''",
        "!!int 5",
        "!mine 5",
        "!!binary YQ==",
    ],
)
def test_tags_are_refused(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"train:\n  optim:\n    policy_params: {tag}\n")
    assert f"{path}:3  train.optim.policy_params: the tag !" in message(path)


@pytest.mark.parametrize("key", ["_target_: os.system", "x: {_target_: os.system}", "x: [{_args_: [1]}]"])
def test_instructions_to_hydra_are_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "spec.yaml"
    for text in (f"train: {{optim: {{policy_params: {{{key}}}}}}}", key.replace("x:", "_partial_:")):
        path.write_text(text)
        assert "a spec names no Python objects" in message(path)


def test_hydras_own_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("hydra:\n  run: {dir: x}\n")
    assert f"{path}:1  hydra: Hydra's own settings are not used" in message(path)


def test_a_byte_order_mark_and_windows_lines_are_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes("\ufefftitle: größe\r\ntrain:\r\n  num_epochs: 0\r\n".encode())
    assert f"{path}:3  train.num_epochs" in message(path)


def test_a_huge_number_of_errors_stays_readable_and_quick(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("".join(f"key_{i}: 1\n" for i in range(500)))
    start = time.perf_counter()
    lines = message(path).splitlines()
    assert time.perf_counter() - start < 5
    assert len(lines) == 51
    assert lines[-1] == "... and 450 more"


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.booleans(), st.integers(-(10**30), 10**30), st.floats(allow_nan=False), st.none()))
def test_scalars_mean_what_pyyaml_wrote(value: object) -> None:
    assert plain_scalar(yaml.safe_dump(value).splitlines()[0]) == value


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_as_python_prints_them(value: float) -> None:
    assert plain_scalar(repr(value)) == value
