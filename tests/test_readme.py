"""What the documents tell users to type works, in the order in which it stands there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tao_like.cli.main import cli, main
from tao_like.tasks import spec_module, task_names

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = sorted(
    [README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("tao_like/tasks/*/README.md")]
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
SHELL = ("console", "bash", "sh", "shell")
# Less of everything, on the same path through the code.
CAPS = {
    "dataset_check": ("dataset_check.likely_wrong_labels=false",),
    "train": ("train.max_steps=2", "train.accelerator=cpu"),
    "prune": ("prune.criterion_samples=4",),
    "quantize": ("quantize.num_samples=4", "quantize.max_drop=1"),
    "compare": ("compare.rounds=2",),
}
PICTURES_LEFT = 3


def blocks(path: Path, languages: tuple[str, ...]) -> Iterator[str]:
    """The fenced blocks of a document that are written in one of these languages."""
    pattern = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for language, text in pattern.findall(path.read_text("utf-8")):
        if language in languages:
            yield text


def commands(path: Path) -> list[list[str]]:
    """The words of each command line of a document's shell blocks; without prompt, comment and variables."""
    lines = "\n".join(blocks(path, SHELL)).replace("\\\n", " ").splitlines()
    split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [without_variables(words) for words in split if without_variables(words)]


def without_variables(words: list[str]) -> list[str]:
    """A command without the `NAME=value` in front of it."""
    while words and re.match(r"^[A-Z_]+=", words[0]):
        words = words[1:]
    return words


def inline_commands(path: Path) -> list[list[str]]:
    """Commands that stand in the text as `tao-like ...`."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(code) for code in re.findall(r"`(tao-like [^`]+)`", text)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in commands(path):
        if words[0] == "make":
            assert targets >= {word for word in words[1:] if "=" not in word and word[0] != "-"}, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_commands_that_are_named_exist(path: Path) -> None:
    known = [words for words in commands(path) if words[0] == "tao-like"] + inline_commands(path)
    for words in known:
        # A word in capitals stands for one that the reader puts there.
        assert_exists([word for word in words[1:] if not word.startswith("-")])


def assert_exists(words: list[str]) -> None:
    """The words begin with a command, or with a place for a task's name."""
    group: click.Command = cli
    context = click.Context(cli)
    for word in words:
        if not isinstance(group, click.Group):
            return
        name = task_names()[0] if word in ("<task>", "TASK") else word
        found = group.get_command(context, name)
        assert found is not None, f"there is no command `tao-like {' '.join(words)}`"
        group = found
    assert words


def test_files_and_folders_that_the_documents_link_to_exist() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who has typed the commands of the README, in their order."""
    folder = tmp_path_factory.mktemp("reader")
    run = [words[1:] for words in commands(README) if words[0] == "tao-like"]
    assert len(run) > 5
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in run:
            stage = words[1] if words[0] in task_names() else ""
            with pytest.raises(SystemExit) as end:
                main([*words, *CAPS.get(stage, ())])
            assert end.value.code == 0, f"tao-like {' '.join(words)}"
            if words[0] == "samples":
                thin_out(folder / words[-1])
    return folder


def thin_out(folder: Path) -> None:
    """Leaves a few pictures in each folder, and those that the README names."""
    text = README.read_text("utf-8")
    for place in {path.parent for path in folder.rglob("*.png")}:
        for path in sorted(place.iterdir())[PICTURES_LEFT:]:
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
    run = list(blocks(README, ("python",)))
    assert run
    for text in run:
        exec(compile(text, "README.md", "exec"), {})
    assert "model.onnx" in capsys.readouterr().out
