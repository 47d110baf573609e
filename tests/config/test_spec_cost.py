from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "omegaconf", "hydra", "antlr4", "timm", "numpy")
HERE = Path(__file__).parent


def run(code: str) -> tuple[set[str], float]:
    """Run code in a fresh process; the heavy packages it imported, and the processor time it took."""
    before = _seconds_of_children()
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=HERE,
        env={"PYTHONPATH": f"{HERE.parents[1]}:{HERE}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = _seconds_of_children() - before
    return {name for name in done.stdout.split() if name in (*HEAVY, "yaml")}, seconds


def _seconds_of_children() -> float:
    """Of the processor, so that other work on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_importing_it_imports_nothing_heavy() -> None:
    loaded, _ = run("import tao_like.config")
    assert loaded == set()


@pytest.mark.parametrize("override", ["train.nm_epochs=3", "results_dir=a b"])
def test_a_wrong_key_is_reported_before_anything_heavy_is_imported(tmp_path: Path, override: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("train:\n  optim: {lr: -1}\n  nm_epochs: 1\n")
    code = (
        "from pathlib import Path\n"
        "from example_spec import Spec\n"
        "from tao_like.errors import SpecError\n"
        "from tao_like.config import load_spec\n"
        "try:\n"
        f"    load_spec(Spec, Path({str(path)!r}), [{override!r}])\n"
        "except SpecError:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit('no error')\n"
    )
    loaded, seconds = min((run(code) for _ in range(3)), key=lambda result: result[1])
    assert loaded == {"yaml"}
    assert seconds < 0.5
