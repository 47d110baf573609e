"""``--module``: operations that the user's own file teaches the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign import classifier, saved
from onnx import helper

from tao_like.bundle import read_bundle
from tao_like.byom.importing import from_bundle
from tao_like.cli.main import main
from tao_like.cli.user_modules import take_modules

TAUGHT = """
import torch
from tao_like.byom import converter

def quick(values, alpha):
    return values * torch.sigmoid(alpha * values)

@converter("QuickGelu", domain="com.microsoft")
def quick_gelu(node):
    return node.call(quick, node.input(0), node.attribute("alpha", 1.702))
"""


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
