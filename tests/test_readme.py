"""What the documents tell users to type works, in the order in which it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import CAPS, assert_commands_exist, blocks, commands

from tao_like.cli.main import main
from tao_like.samples import digit_scenes
from tao_like.tasks import spec_module, task_names

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = sorted(
    [README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("tao_like/tasks/*/README.md")]
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
IMAGES_LEFT = 3
SCENES_LEFT = 8


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in commands(path.read_text("utf-8")):
        if words[0] == "make":
            assert targets >= {word for word in words[1:] if "=" not in word and word[0] != "-"}, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_commands_that_are_named_exist(path: Path) -> None:
    assert_commands_exist(path.read_text("utf-8"))


def test_files_and_folders_that_the_documents_link_to_exist() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who has typed the commands of the README, in their order."""
    folder = tmp_path_factory.mktemp("reader")
    run = [words[1:] for words in commands(README.read_text("utf-8")) if words[0] == "tao-like"]
    assert len(run) > 5
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for split in digit_scenes.COUNTS:
            patch.setitem(digit_scenes.COUNTS, split, SCENES_LEFT)
        for words in run:
            stage = words[1] if words[0] in task_names() else ""
            with pytest.raises(SystemExit) as end:
                main([*words, *CAPS.get(stage, ())])
            assert end.value.code == 0, f"tao-like {' '.join(words)}"
            if words[0] == "samples":
                thin_out(folder / words[-1])
    return folder


def thin_out(folder: Path) -> None:
    """Leaves a few images in each folder, and those that the README names."""
    text = README.read_text("utf-8")
    for place in {path.parent for path in folder.rglob("*.png")}:
        for path in sorted(place.iterdir())[IMAGES_LEFT:]:
            if path.name not in text:
                path.unlink()


def test_the_commands_of_the_readme_leave_the_files_that_it_names(reader: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README.read_text("utf-8"), re.MULTILINE)
    results = reader / "results" / "photos"
    named = {stage: re.findall(r"`([\w./]+)`", text) for stage, text in rows if (results / stage).is_dir()}
    assert named.keys() == set(spec_module("classification").STAGES)
    for stage, files in named.items():
        for name in files:
            # This one is written only where labels look wrong.
            if name != "likely_wrong_labels.png":
                assert (results / stage / name).exists(), f"{stage}/{name}"


def test_the_python_of_the_readme_runs_behind_its_commands(
    reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(reader)
    run = list(blocks(README.read_text("utf-8"), ("python",)))
    assert run
    for text in run:
        exec(compile(text, "README.md", "exec"), {})
    assert "model.onnx" in capsys.readouterr().out
