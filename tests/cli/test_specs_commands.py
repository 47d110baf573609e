"""`tao-like specs` names every ready spec and copies it as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import CommandLine

SHIPPED = sorted((Path(__file__).parents[2] / "specs").glob("*/*.yaml"))


def test_list_names_every_file_with_the_first_line_of_its_header(tao_like: CommandLine) -> None:
    assert tao_like("specs", "list") == 0
    lines = tao_like.output.splitlines()
    assert [line.split()[0] for line in lines] == [f"{path.parent.name}/{path.stem}" for path in SHIPPED]
    for line, path in zip(lines, SHIPPED, strict=True):
        assert f"# {line.split(maxsplit=1)[1]}" == path.read_text(encoding="utf-8").splitlines()[0]


def test_list_of_a_task_has_its_files_alone(tao_like: CommandLine) -> None:
    assert tao_like("specs", "list", "detection") == 0
    assert {line.split("/")[0] for line in tao_like.output.splitlines()} == {"detection"}


@pytest.mark.parametrize("name", ["classification/small_data", "classification/small_data.yaml"])
def test_copy_gives_the_file_as_it_is(name: str, tao_like: CommandLine, tmp_path: Path) -> None:
    assert tao_like("specs", "copy", name, str(tmp_path / "mine")) == 0
    original = next(path for path in SHIPPED if path.stem == "small_data")
    assert (tmp_path / "mine" / "small_data.yaml").read_bytes() == original.read_bytes()


def test_copy_of_a_task_gives_all_its_files(tao_like: CommandLine, tmp_path: Path) -> None:
    assert tao_like("specs", "copy", "detection", str(tmp_path)) == 0
    expected = {path.name for path in SHIPPED if path.parent.name == "detection"}
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_copy_overwrites_nothing(tao_like: CommandLine, tmp_path: Path) -> None:
    mine = tmp_path / "prune.yaml"
    mine.write_text("mine")
    assert tao_like("specs", "copy", "classification", str(tmp_path)) == 2
    assert "prune.yaml is there already" in tao_like.errors
    assert mine.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [mine]


def test_a_mistyped_name_is_answered_with_the_nearest(tao_like: CommandLine, tmp_path: Path) -> None:
    assert tao_like("specs", "copy", "classification/smal_data", str(tmp_path)) == 2
    assert "classification/small_data" in tao_like.errors
    assert tao_like("specs", "list", "speech") == 2
    assert "detection" in tao_like.errors
