"""The wheel holds what an installed package needs, and the command line works from it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as `pip wheel` builds it, but without an environment of its own: that is a download."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-c", BUILD, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as pip puts it among the packages."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def files_below(folder: Path) -> set[str]:
    """The files below a folder that somebody has written, by their paths in it."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_the_ready_specs_and_nothing_else(installed: Path) -> None:
    package = {f"tao_like/{name}" for name in files_below(ROOT / "tao_like")}
    specs = {f"tao_like/specs/{name}" for name in files_below(ROOT / "specs")}
    assert {"tao_like/py.typed", "tao_like/networks/backbones/timm_backbones.csv"} <= package
    assert "tao_like/specs/classification/small_data.yaml" in specs
    about = {name for name in files_below(installed) if ".dist-info/" in name}
    assert {name.partition("/")[2] for name in about} >= {"METADATA", "entry_points.txt", "licenses/LICENSE"}
    assert files_below(installed) - about == package | specs


def test_the_command_that_it_installs_is_the_command_line(installed: Path) -> None:
    points = ConfigParser()
    points.read(next(installed.glob("*.dist-info/entry_points.txt")))
    assert dict(points["console_scripts"]) == {"tao-like": "tao_like.cli.main:main"}


def test_the_command_line_works_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    # Behind the wheel's content stand the other packages; the checkout and the tests do not.
    checkout = (ROOT, ROOT / "tests")
    others = [path for path in sys.path if path and not any(Path(path).is_relative_to(p) for p in checkout)]
    script = (
        "import sys, tao_like.cli.main as m; print(m.__file__);"
        "from tao_like.config.shipped import shipped_specs; print(shipped_specs()); m.main(sys.argv[1:])"
    )

    def say(*words: str) -> list[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *others])}
        command = [sys.executable, "-c", script, *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        code, specs, *said = done.stdout.splitlines()
        assert Path(code).is_relative_to(installed)
        assert Path(specs) == installed / "tao_like" / "specs"
        return said

    assert any("classification" in line for line in say("--help"))
    listed = {line.split()[0] for line in say("specs", "list")}
    assert listed == {name.removesuffix(".yaml") for name in files_below(ROOT / "specs")}
    say("specs", "copy", "classification/small_data", "mine")
    shipped = ROOT / "specs" / "classification" / "small_data.yaml"
    assert (tmp_path / "mine" / "small_data.yaml").read_bytes() == shipped.read_bytes()
