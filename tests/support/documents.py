"""Commands and code that stand in documents and notebooks, and what makes a run of them short."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click

from tao_like.cli.main import cli
from tao_like.tasks import task_names

SHELL = ("console", "bash", "sh", "shell")
# Less of everything, on the same path through the code.
CAPS = {
    "dataset_check": ("dataset_check.likely_wrong_labels=false",),
    "train": ("train.max_steps=1", "train.accelerator=cpu"),
    "prune": ("prune.criterion_samples=4",),
    "quantize": ("quantize.num_samples=4", "quantize.max_drop=1"),
    "compare": ("compare.rounds=2",),
}


def blocks(text: str, languages: tuple[str, ...]) -> Iterator[str]:
    """The fenced blocks of a Markdown text that are written in one of these languages."""
    pattern = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for language, content in pattern.findall(text):
        if language in languages:
            yield content


def commands(text: str) -> list[list[str]]:
    """The words of each command line of a text's shell blocks; without prompt, comment and variables."""
    lines = "\n".join(blocks(text, SHELL)).replace("\\\n", " ").splitlines()
    split = [without_variables(words) for words in _words_of(lines)]
    return [words for words in split if words]


def _words_of(lines: list[str]) -> Iterator[list[str]]:
    """The words of each command; a quotation may go over several lines."""
    begun = ""
    for line in lines:
        begun += line.removeprefix("$ ") if not begun else "\n" + line
        try:
            words = shlex.split(begun, comments=True)
        except ValueError as error:
            if "closing quotation" not in str(error):
                raise
            continue
        begun = ""
        yield words
    assert not begun, f"a quotation does not end: {begun}"


def without_variables(words: list[str]) -> list[str]:
    """A command without the `NAME=value` in front of it."""
    while words and re.match(r"^[A-Z_]+=", words[0]):
        words = words[1:]
    return words


def inline_commands(text: str) -> list[list[str]]:
    """Commands that stand in a sentence as `tao-like ...`."""
    sentences = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(code) for code in re.findall(r"`(tao-like [^`]+)`", sentences)]


def assert_commands_exist(text: str) -> None:
    """Every command of ours in a Markdown text is one."""
    for words in [words for words in commands(text) if words[0] == "tao-like"] + inline_commands(text):
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
