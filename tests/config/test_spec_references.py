from __future__ import annotations

from pathlib import Path

import pytest
from example_spec import Spec

from tao_like.config import load_spec
from tao_like.errors import SpecError


def load(tmp_path: Path, text: str, *overrides: str) -> Spec:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return load_spec(Spec, path, overrides).spec


def test_a_reference_repeats_given_values_and_defaults(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "results_dir: /data\n"
        "title: 'run of ${train.num_epochs} epochs at ${train.optim.lr}'\n"
        "evaluate: {checkpoint: '${results_dir}/train/model.tltb'}\n"
        "train:\n"
        "  warmup: ${train.num_epochs}\n"
        "  seed: ${train.optim.policy_params.gamma_steps}\n"
        "  optim:\n"
        "    lr: 1e-2\n"
        "    betas: ${train.optim.policy_params.both}\n"
        "    policy_params: {gamma_steps: 4, both: [0, 0.5]}\n",
    )
    assert spec.title == "run of 10 epochs at 1e-2"
    assert spec.evaluate.checkpoint == "/data/train/model.tltb"
    assert (spec.train.warmup, spec.train.seed, spec.train.optim.betas) == (10, 4, [0.0, 0.5])


def test_overrides_count_for_references_and_may_hold_them(tmp_path: Path) -> None:
    spec = load(tmp_path, "title: ${results_dir}\n", "results_dir=b", "train.warmup=${train.num_epochs}")
    assert (spec.title, spec.train.warmup) == ("b", 10)


def test_references_follow_references_and_other_names(tmp_path: Path) -> None:
    spec = load(tmp_path, "title: ${out}\nout: ${train.optimizer.type}\ntrain: {optim: {type: sgd}}\n")
    assert spec.title == "sgd"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: ${oc.env:HOME}", "title: ${oc.env:HOME} is not resolved; only ${block.key}"),
        ("title: ${oc.env:HOME,x}", "is not resolved"),
        ("title: ${eval:1+1}", "is not resolved"),
        ("title: ${.seed}", "is not resolved"),
        ("title: ${nothing}", "${nothing} names no key that holds a value"),
        ("title: ${train}", "${train} names no key that holds a value"),
        ("title: ${evaluate.checkpoint}", "names no key that holds a value"),
        ("title: ${title}", "references go in a circle (title -> title)"),
        ("title: ${results_dir}\nresults_dir: ${title}", "circle"),
        ("title: 'a ${b'", "${ begins a reference"),
        ("title: ${a.${b}}", "${ begins a reference"),
        ("title: 'x${train.gpu_ids}'", "is no single value"),
        ("train: {num_epochs: '${train.optim.optim}'}", '"adamw" is text; it must be a whole number'),
        ("train: {num_epochs: '${train.warmup}'}", "0 is not allowed; it must be at least 1"),
    ],
)
def test_nothing_else_resolves(
    tmp_path: Path, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/secret")
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)
    assert "/secret" not in str(caught.value)
    assert "spec.yaml:1" in str(caught.value)


@pytest.mark.parametrize("form", ["'${%s}${%s}'", "['${%s}', '${%s}']"])
def test_references_cannot_blow_up(tmp_path: Path, form: str) -> None:
    prefix = "train.optim.policy_params."
    lines = [f"      k{i}: {form % (f'{prefix}k{i + 1}', f'{prefix}k{i + 1}')}" for i in range(60)]
    text = "train:\n  optim:\n    policy_params:\n" + "\n".join([*lines, "      k60: aaaaaaaaaa\n"])
    with pytest.raises(SpecError, match="references"):
        load(tmp_path, text)
