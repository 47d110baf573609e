"""``--module``: operations that the user's own file teaches the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from foreign import classifier, saved
from onnx import helper

from tao_like.bundle import read_bundle
from tao_like.byom.building import registry
from tao_like.byom.importing import from_bundle, import_file
from tao_like.byom.teaching import refuse_untaught
from tao_like.cli.main import main
from tao_like.cli.user_modules import module_words, take_modules
from tao_like.contract.model import Exportable
from tao_like.errors import BundleError, ConversionError
from tao_like.stages.lib.graphs.writing import to_onnx

TAUGHT = """
import torch
from tao_like.byom import converter

def quick(values, alpha):
    return values * torch.sigmoid(alpha * values)

@converter("QuickGelu", domain="com.microsoft")
def quick_gelu(node):
    return node.call(quick, node.input(0), node.attribute("alpha", 1.702))
"""


@pytest.fixture(autouse=True)
def untaught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without what another has taught."""
    monkeypatch.setattr(registry, "_taught", {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A classifier with an operation of onnxruntime's own in the place of a ReLU."""
    proto = classifier()
    relu = next(node for node in proto.graph.node if node.output[0] == "r2")
    relu.op_type, relu.domain = "QuickGelu", "com.microsoft"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return saved(proto, tmp_path / "model.onnx")


def called(*words: object) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(str(ended.value.code))


def test_the_command_line_learns_an_operation(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("byom", "convert", "-m", file, "-o", tmp_path / "model.tltb")
    assert called(*words) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "com.microsoft.QuickGelu" in said
    assert "--module my_ops.py" in said
    (tmp_path / "my_ops.py").write_text(TAUGHT, encoding="utf-8")
    assert called(*words, "--module", tmp_path / "my_ops.py") == 0
    target = from_bundle(read_bundle(tmp_path / "model.tltb")).value_nodes["r2"].target
    assert getattr(target, "__name__", "") == "quick"


def test_a_search_hands_the_file_to_its_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_ops.py").write_text(TAUGHT, encoding="utf-8")
    given: list[list[str]] = []
    monkeypatch.setattr("tao_like.automl.run.run_automl", lambda *_, options, **__: given.append(options))
    monkeypatch.chdir(tmp_path)
    called("--module", "my_ops.py", "classification", "automl")
    assert given == [["--module", str(tmp_path / "my_ops.py")]]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "there is no Python file"),
        ("import torch\nthis_is_missing()", "line 2: NameError: name 'this_is_missing'"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_file_that_fails_is_one_sentence(
    code: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if code is not None:
        (tmp_path / "broken.py").write_text(code, encoding="utf-8")
    assert called("--module", tmp_path / "broken.py", "tasks") == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_it_may_stand_anywhere_and_more_than_once() -> None:
    words = ["--module", "a.py", "byom", "--module=b.py", "inspect"]
    assert take_modules(words) == (["byom", "inspect"], ["a.py", "b.py"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
        ("def deep():\n    return 1 / 0\n\ndeep()", "line 2: ZeroDivisionError"),
        ("import my_other_ops", "line 1: ModuleNotFoundError: No module named 'my_other_ops'"),
    ],
)
def test_the_line_that_failed_is_named_for_a_relative_path_too(
    code: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text(code, encoding="utf-8")
    assert called("tasks", "--module", "broken.py") == 2
    assert f"broken.py, {message}" in " ".join(capsys.readouterr().err.split())


def test_a_file_that_teaches_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = tmp_path / "silent.py"
    silent.write_text("def cube(node):\n    return node.input(0)\n", encoding="utf-8")
    (tmp_path / "my_ops.py").write_text(TAUGHT, encoding="utf-8")
    assert called("--module", silent, "--module", tmp_path / "my_ops.py", "tasks") == 0
    said = capsys.readouterr().err
    assert said.count("teaches no operation") == 1
    assert "silent.py teaches no operation" in said
    words = module_words()
    assert words == ["--module", str(silent), "--module", str(tmp_path / "my_ops.py")]


DOUBLED = """
import torch
from tao_like.byom import converter

def rectified(values):
    return torch.relu(values) * {factor}

@converter("Relu"{version})
def relu(node):
    return node.call(rectified, node.input(0))
"""


def test_what_is_built_in_can_be_replaced_and_the_proof_still_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(classifier(), tmp_path / "model.onnx")
    words = ("byom", "convert", "-m", model, "-o", tmp_path / "model.tltb")
    for name, factor in (("same", "1.0"), ("twice", "2.0")):
        code = DOUBLED.format(factor=factor, version="")
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    # Of two files the later one counts.
    assert called(*words, "--module", tmp_path / "same.py", "--module", tmp_path / "twice.py") == 1
    assert "The conversion is wrong" in " ".join(capsys.readouterr().err.split())
    assert called(*words, "--module", tmp_path / "twice.py", "--module", tmp_path / "same.py") == 0
    assert "--module same.py too" in " ".join(capsys.readouterr().out.split())
    called("byom", "inspect", "-m", model, "--module", tmp_path / "same.py")
    assert "same.py" in next(line for line in capsys.readouterr().out.splitlines() if "Relu" in line)


SOFTMAX = """
import torch
from tao_like.byom import converter

def exponentials(values, axis):
    values = torch.exp(values - values.amax(axis, keepdim=True))
    return values / values.sum(axis, keepdim=True)

@converter("Softmax")
def softmax(node):
    return node.call(exponentials, node.input(0), node.attribute("axis", -1))
"""


def test_a_replacement_needs_no_version(tmp_path: Path) -> None:
    """The built-in function for Softmax is for version 13 and later; a replacement for any still counts."""
    model = saved(classifier(), tmp_path / "model.onnx")
    (tmp_path / "my_ops.py").write_text(SOFTMAX, encoding="utf-8")
    words = ("byom", "convert", "-m", model, "-o", tmp_path / "model.tltb")
    assert called(*words, "--module", tmp_path / "my_ops.py") == 0
    bundle = read_bundle(tmp_path / "model.tltb")
    assert bundle.extra["taught"] == {"Softmax": "my_ops.py"}
    assert getattr(from_bundle(bundle).value_nodes["y"].target, "__name__", "") == "exponentials"


def test_a_bundle_is_not_built_without_what_it_was_converted_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an operation is built in as well, another network would come of it."""
    model = saved(classifier(), tmp_path / "model.onnx")
    (tmp_path / "my_ops.py").write_text(SOFTMAX, encoding="utf-8")
    words = ("byom", "convert", "-m", model, "-o", tmp_path / "model.tltb")
    assert called(*words, "--module", tmp_path / "my_ops.py") == 0
    monkeypatch.setattr(registry, "_taught", {})
    with pytest.raises(ConversionError, match=r"my_ops\.py, which teaches Softmax; give --module my_ops\.py"):
        from_bundle(read_bundle(tmp_path / "model.tltb"))
    assert import_file(model).report["taught"] == {}


@pytest.mark.parametrize("taught", [["Softmax"], {"Softmax": 3}, "Softmax"])
def test_what_a_bundle_says_of_teachers_must_be_names(taught: object) -> None:
    with pytest.raises(BundleError, match="for each operation which file teaches it"):
        refuse_untaught({"taught": taught})


def test_what_follows_a_taught_operation_takes_any_batch_after_export(file: Path, tmp_path: Path) -> None:
    """onnx cannot infer what a taught operation gives: how many axes that has is measured, and kept."""
    (tmp_path / "my_ops.py").write_text(TAUGHT, encoding="utf-8")
    words = ("byom", "convert", "-m", file, "-o", tmp_path / "model.tltb")
    assert called(*words, "--module", tmp_path / "my_ops.py") == 0
    module = from_bundle(read_bundle(tmp_path / "model.tltb")).module
    form = Exportable(module, {"x": {0: "batch"}}, {"y": {0: "batch"}}, {"y": "scores"}, lambda one: (one,))
    content, _ = to_onnx(form, (torch.rand(2, 3, 32, 32),), dynamic=True, opset=17)
    images = np.random.default_rng(0).random((5, 3, 32, 32), dtype=np.float32)
    both = (content.SerializeToString(), file.read_bytes())
    runs = [onnxruntime.InferenceSession(one).run(None, {"x": images})[0] for one in both]
    np.testing.assert_allclose(*runs, rtol=0, atol=1e-6)
