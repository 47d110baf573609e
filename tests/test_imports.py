"""What is loaded when: import-linter sees every import, these tests see those that really happen."""

from __future__ import annotations

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import tao_like

PACKAGE = Path(tao_like.__file__).parent
# Each takes seconds to import, or would make the runtime more than numpy, Pillow and onnxruntime.
SLOW = {
    "torch",
    "torchvision",
    "timm",
    "pytorch_lightning",
    "lightning_fabric",
    "torchmetrics",
    "torch_pruning",
    "sklearn",
    "tensorboard",
    "matplotlib",
}
MODELLING = {"onnx", "hydra", "omegaconf", "yaml", "safetensors", "click", "rich"}
TASK_SPECS = [f"tao_like.tasks.{path.parent.name}.spec" for path in sorted(PACKAGE.glob("tasks/*/spec.py"))]


def loaded_by(module: str) -> set[str]:
    """Return the names of the top-level packages that a fresh interpreter has after importing ``module``."""
    script = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "tao_like",
        "tao_like.bundle",
        "tao_like.cli.main",
        "tao_like.data.images.readers",
        "tao_like.errors",
        "tao_like.config",
        "tao_like.stages",
        "tao_like.tasks",
        "tao_like.tracking",
        *TASK_SPECS,
    ],
)
def test_importing_it_loads_nothing_slow(module: str) -> None:
    assert loaded_by(module) & SLOW == set()


def test_the_runtime_loads_numpy_pillow_and_onnxruntime_alone() -> None:
    assert loaded_by("tao_like.runtime") & (SLOW | MODELLING) == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types and inside functions count too."""
    graph = grimp.build_graph("tao_like", cache_dir=None)
    assert len(graph.modules) > 700
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imported).prepare()


def test_help_waits_for_no_spec_and_no_array() -> None:
    script = (
        "import sys; from tao_like.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "tao_like.cli.main" in loaded
    assert loaded & {"numpy", "PIL", "rich", *TASK_SPECS} == set()


def test_every_public_name_of_the_runtime_is_found() -> None:
    import tao_like.runtime as runtime

    assert {name for names in runtime._MODULES.values() for name in names} == set(runtime.__all__)
    assert all(callable(getattr(runtime, name)) for name in runtime.__all__)


def test_a_training_begins_without_libraries_that_it_does_not_use() -> None:
    """Lightning would import TorchMetrics to see its version, and that transformers, where it is there."""
    tasks = [name.replace(".spec", ".task") for name in TASK_SPECS]
    loaded = loaded_by(", ".join(["tao_like.stages.train", *tasks]))
    assert {"torch", "lightning_fabric", "timm"} <= loaded
    assert loaded & {"transformers", "torchmetrics", "pytorch_lightning", "sklearn"} == set()


def test_there_is_a_spec_of_every_task() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("tasks/*/task.py")}
    assert {name.split(".")[2] for name in TASK_SPECS} == folders != set()


def test_every_task_is_kept_apart_from_the_others() -> None:
    """import-linter has no pattern for folders alone, so their names stand in its contract."""
    contract = (
        (PACKAGE.parent / "pyproject.toml").read_text("utf-8").partition("tasks do not import each other")
    )
    named = {name.split(".")[2] for name in TASK_SPECS if f'"{name.removesuffix(".spec")}"' in contract[2]}
    assert named == {path.parent.name for path in PACKAGE.glob("tasks/*/task.py")}
