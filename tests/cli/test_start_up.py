"""Help and errors of a spec come at once: nothing slow is loaded for them."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
import sys
from tao_like.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("loaded", code, *sorted({name.partition(".")[0] for name in sys.modules}))
"""
SLOW = {
    "torch",
    "torchvision",
    "timm",
    "pytorch_lightning",
    "lightning_fabric",
    "torchmetrics",
    "onnx",
    "onnxruntime",
    "sklearn",
    "tensorboard",
}
# What is promised on an idle machine, times this much for one that is not.
MARGIN = 3


def loaded_by(words: list[str]) -> tuple[int, set[str], str]:
    """Exit code of a command, the packages that it has loaded, and what it wrote."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    before, _, last = done.stdout.rpartition("loaded ")
    code, *modules = last.split()
    return int(code), set(modules), before + done.stderr


def processor_seconds(words: list[str]) -> float:
    """The least time that the command has kept a processor busy, of four runs; waiting does not count."""
    times = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "tao_like.cli", *words], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.fixture
def wrong_spec(tmp_path: Path) -> Path:
    """A spec with a key that does not exist."""
    path = tmp_path / "spec.yaml"
    path.write_text("train:\n  num_epoch: 3\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["--version"], ["tasks"], ["classification", "--help"],
        ["classification", "train", "--help"],
        ["classification", "default_specs"], ["classification", "schema"], ["backbones", "resnet18"],
        ["samples"], ["completion", "bash"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_commands_that_compute_nothing_load_nothing_slow(words: list[str]) -> None:
    code, modules, _ = loaded_by(words)
    assert code == 0
    assert modules & SLOW == set()


def test_a_wrong_key_is_told_without_loading_anything_slow(wrong_spec: Path) -> None:
    code, modules, text = loaded_by(["classification", "train", "-e", str(wrong_spec)])
    assert code == 2
    assert "spec.yaml:2" in text
    assert "num_epochs" in text
    assert modules & SLOW == set()


def test_help_and_a_wrong_key_take_a_fraction_of_a_second(wrong_spec: Path) -> None:
    assert processor_seconds(["--help"]) < 0.35 * MARGIN
    assert processor_seconds(["classification", "train", "-e", str(wrong_spec)]) < 0.8 * MARGIN
